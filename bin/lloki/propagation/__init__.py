"""From a sparse panel to cells as full as scRNA-seq's: the paper's "LLOKI-FP".

`graph`: spatial graph (Eq. 1); `sparsity`: targets by optimal transport (Eq. 3 and 4);
`propagation`: feature propagation (Eq. 2) and denoising (Eq. 5); `stored`: graphs and targets as
files.
"""
