"""What the cells are: labels carried over, and words of several vocabularies brought together.

`transfer`: labels of references and labelled slices, by the votes of near cells; `labelling`: of
all slices, also with labels hidden; `transfer_calibration`: whether probabilities are right;
`transfer_unknown`: cells outside what the sources cover; `tables`: all that as tables;
`vocabularies`: labels of different names, and tables that join them.
"""
