"""What cells are: clusters, and the genes that mark them in every panel; domains of the tissue.

`clusters`: the graph of an embedding, its clusters on two levels, by a resolution that holds on
parts of the cells; `places`: clusters of one technology alone, and what
lies around them; `markers`: genes of clusters, in each slice that measured them and together.
`domains`: cells with alike surroundings; `neighbourhoods`: labels that lie beside one another.
"""
