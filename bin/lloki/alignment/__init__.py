"""All slices in one frame of coordinates: the paper's "Slice alignment".

`pairwise`: landmarks, the motion of one slice onto another, a test of chance; `rigid`: motions and
their fits (Kabsch); `refinement`: the motion on all cells; `joint`: all slices at once;
`baselines`: other ways to align.
"""
