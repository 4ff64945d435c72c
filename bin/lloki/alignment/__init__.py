"""All slices in one frame of coordinates: the paper's "Slice alignment".

`pairwise`: landmarks, the motion of one slice onto another, a test of chance; `rigid`: motions and
their fits (Kabsch); `refinement`: the motion on all cells; `groups`, `plan`: which slices are
compared; `stored`: what one task found, as a file; `joint`: all slices of a group at once;
`baselines`: other ways to align.
"""
