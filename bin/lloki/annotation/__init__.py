"""What the cells are: labels carried over, and words of several vocabularies brought together.

`transfer`: labels from references and labelled slices, by weighted neighbours;
`transfer_calibration`: probabilities held against cells of known label; `transfer_unknown`: cells
outside what the sources cover; `vocabularies`: labels of different names, tables that join them.
"""
