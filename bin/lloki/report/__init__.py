"""The report: what the stages recorded, scores and pictures, as sections of one page.

`report` puts the page together from `run`, `results`, `annotation`, `clusters`, `domains`,
`programs`, `niches` and `scores`; `material` holds what they draw on; `figures`,
`figure_alignment`, `figure_annotation`, `figure_clusters`, `figure_metagenes`, `figure_niches`,
`figure_scores` and `figure_stages` draw, `raster` many cells; `markup` writes HTML; `crate`
describes the run's files; `viewer` writes for the instruments' viewers.
"""
