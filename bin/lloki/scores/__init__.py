"""How good an embedding is, and what else there is: the paper's "Evaluation".

`metrics`: scib-metrics' eight and more; `silhouette`: exact in little memory; `tables`: scores of
many embeddings; `baselines`: the methods that LLOKI is compared with (`baselines.csv` is their
list); `mnn`, `imputed`, `mapped`: three of them, correction by mutual nearest neighbours,
expression imputed from the reference, and cells mapped onto it; `unions`: the counts of all genes,
for one more.
"""
