"""Programs of cells: metagenes that all slices share, and programs of niches.

`metagenes`: the model and its steps, `descent` the longest of them; `simplex_field`: the field of
neighbours and its integral; `fitting`: starts, the fit, a fit laid on new cells, stability;
`neighbourhood`: graphs of cells, Moran's I. What a fit says: `enrichment` by type, `genes`
(markers, loadings, sets), `summary`; `routes`: the same from shared genes, and from each slice
alone.

Of niches: `niche_pairs`, which cells are meant; `niche_field`, what is around a cell, and the same
moved over the slice; `niche_genes`, the genes of one kind of cell; `niche_groups`, its clusters;
`niche_sides`, all that of each slice; `niches`, the procedure, cross-fitted and on moved fields;
`niche_summary`, what it says.
"""
