"""Programs of cells: metagenes that all slices share.

`metagenes`: the model and its steps; `simplex_field`: the field of neighbours and its integral;
`fitting`: starts, the fit, a fit laid on new cells, stability; `neighbourhood`: graphs of cells,
Moran's I. What a fit says: `enrichment` by type, `genes` (markers, loadings, sets), `summary`;
`routes`: the same from shared genes, and from each slice alone.
"""
