"""Slices and references as files: read, judged, written; and their genes by name.

The only wing that opens files of cells. Input of the method (the paper's Methods, "Data sets and
preprocessing"): raw counts and coordinates become log-normalised expression and micrometres.
"""
