"""What every wing stands on; nothing here knows of slices or of the method.

`cli`: the command of a stage, its common options, outputs; `progress`: how far it is; `errors`:
what ends it with one line; `checkpoint`: the state of a training; `checksum`, `storage`: files;
`names`: of files and elements; `neighbours`, `search`: nearest neighbours, exact and by an index;
`clusters`: k-means; `leiden`: clusters of a graph; `device`, `threads`: what computes.
"""
