"""Slices and references as files: read, judged, written; and their genes by name.

The paper's "Data sets and preprocessing": counts and coordinates become log-normalised expression
and micrometres. `detect`: which form a slice has, and the one call that reads any; `source`: what a
reader gives. `xenium`, `merscope`, `cosmx` (with `vendor`, what they share): instruments' folders;
`stores`: zarr; `files`: AnnData, and `parts` of
it; `tables`: text, read by `dense` and `fields`. `evidence`: what a
file really holds; `checks`, `hdf5`: what it has to be. `samples`: many slices at once; `genes`:
names across panels, species and spellings. `inspection`: what inputs say of each other before the
work; `cost`: what that will take.
"""
