"""LLOKI: integration of imaging-based spatial transcriptomics across technologies and gene panels.

A library of functions on arrays, sparse matrices and AnnData; the scripts beside this folder read
and write the files. Importing it loads nothing heavy.
"""

__version__ = "0.1.0"
