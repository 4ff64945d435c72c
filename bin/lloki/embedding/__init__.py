"""One embedding for cells of every panel: the paper's "scGPT embedding".

`scgpt`: the foundation model, from official checkpoints or trained here; `mosaic`: our low-rank
model over the union of all panels, which needs no weights, on the factor analysis in `factors`;
`reference`: cells of references in it.
"""
