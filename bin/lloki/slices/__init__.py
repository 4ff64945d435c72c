"""Slices and references as files: read, judged, written; and their genes by name.

The paper's "Data sets and preprocessing": counts and coordinates become log-normalised expression
and micrometres. `detect`: which form a slice has, and the one call that reads any; `source`: what a
reader gives. `xenium`, `merscope`, `cosmx` (with `vendor`, what they share): instruments' folders;
`stores`: zarr; `files`: AnnData, `parts`: of it, `findings`: what is added to it; `tables`: text,
read by `dense` and `fields`. `evidence`: what a file really holds (with `controls`, `places`,
`labels`); `checks`, `hdf5`: what it has to be. `chosen`: a table of cells, which to take, their
labels. `samples`: many slices at once; `symbols`: what a gene is called; `genes`: names across
panels, species and spellings.
`inspection`: what inputs say of each other before the work; `cost`: what that will take.
"""
