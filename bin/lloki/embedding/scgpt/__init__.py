"""scGPT (Cui et al., Nature Methods 2024): checkpoints in their official layout, and the encoder.

`checkpoint` reads the folder, `tokens` turns cells into tokens, `encoder` turns tokens into cells'
embeddings. Embeddings equal those of the package scgpt 0.2.4 (`scgpt.tasks.embed_data`) to float32
rounding, with two additions: what that package draws at random (bins of tied values, the genes kept
of a cell that exceeds the maximal length) depends on the seed, the cell's name and the gene alone.

`pretrain` trains a small one on the `training_set` of slices and references at hand; `reference`
runs the package itself.
"""
