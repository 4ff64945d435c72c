"""The report: what the stages recorded, scores and pictures, as one page that a reader explores.

`page` writes it by the templates. At its top stand what `verdicts` finds, with the stages' warnings
weighed by `cautions`; then UMAP and map, packed by `explorer`: the cells that `sampling` draws, in
the colours of `colourings`; `next_steps`: commands. `report` puts the sections in order:
`clusters`, `annotation`, `domains`, `programs`, `niches`, `results`, `scores`, `run`. They are made
of `blocks`; `glossary` explains words; `material` holds what all draw on. `figures`,
`figure_alignment`, `figure_annotation`, `figure_clusters`, `figure_metagenes`, `figure_niches`,
`figure_scores` and `figure_stages` draw for print, `raster` many cells. `crate` describes the run's
files, `multiqc` tells the run to MultiQC; `viewer` writes for the instruments' viewers.
"""
