"""What cells are: labels carried over, clusters and what marks them, domains of the tissue.

`transfer`: labels of references and labelled slices, by the votes of near cells; `labelling`: of
all slices, also with labels hidden; `transfer_calibration`: whether probabilities are right;
`transfer_unknown`: cells outside what the sources cover; `tables`: all that as tables;
`vocabularies`: labels of different names, and tables that join them.
`clusters`: the graph of an embedding, its clusters on two levels, by a resolution that holds on
parts of the cells; `places`: clusters of one technology alone, and what
lies around them; `markers`: genes of clusters, in each slice that measured them and together.
`domains`: cells with alike surroundings; `neighbourhoods`: labels that lie beside one another.
"""
