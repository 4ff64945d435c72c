"""Slices and references as files: read, judged, written; and their genes by name.

The paper's "Data sets and preprocessing": counts and coordinates become log-normalised expression
and micrometres. `files`: AnnData; `tables`: text; `samples`: many slices at once; `checks`,
`hdf5`: what a file has to be; `genes`: names across panels, species and spellings.
"""
