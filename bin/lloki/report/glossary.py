"""Words of the field in a sentence each: shown where the mouse rests on them."""

from __future__ import annotations

TERMS = {
    "aligned": "turned and shifted into the coordinates of another slice",
    "AUC": "chance that a cell of the group has more of it than another cell; 0.5 is no difference",
    "batch": "cells of one technology and gene panel",
    "BRAS": "do batches overlap within each type? (cosine distances, against all other batches)",
    "Batch correction": "mean of the three scores on how well batches mix",
    "Bio conservation": "mean of the five scores on whether cell types stay apart",
    "cLISI": "is a cell's neighbourhood of one type? 1: yes",
    "controls": "counts of a control feature as a share of those of a gene: the noise",
    "domain": "cells with alike surroundings: a layer or region of the tissue",
    "dropped": "cells left out because they have too few counts",
    "embedding": "numbers for each cell, such that similar cells get similar numbers",
    "FDR": "share of false findings to expect among those with a value as low",
    "flag": "of a cluster of one technology alone: biology or batch?",
    "found by": "the way that the motion was found; identity: not moved",
    "frame": "the coordinate system in which a slice lies",
    "Graph connectivity": "is each cell type one connected piece?",
    "iLISI": "does a cell's neighbourhood hold all batches? 0: one batch, 1: all evenly",
    "inliers": "landmarks that agree with the motion found",
    "Isolated labels": "are the types found in the fewest batches compact and apart?",
    "kBET": "are neighbourhoods mixed as the whole type is? (acceptance rate of a χ² test)",
    "KMeans ARI": "do K-means clusters match the cell types? (pairs of cells)",
    "KMeans NMI": "do K-means clusters match the cell types? (mutual information)",
    "Label transfer F1": "can each batch be labelled from the others? (15 neighbours)",
    "label elsewhere": "share of the other technologies' cells that bear the cluster's label",
    "landmarks": "pairs of cells of two slices that are nearest neighbours in the LLOKI embedding",
    "LLOKI": "the integrated embedding, after the conditional autoencoder",
    "LLOKI-FP": "the embedding before integration: feature propagation, then the embedder",
    "macro F1": "accuracy that weighs rare types as much as common ones",
    "metagene": "a program of genes that cells mix; found over all slices together",
    "Moran's I": "do neighbouring cells have similar values? 0: no, 1: fully",
    "most of": "the technology of most of its cells, as if each had as many cells",
    "nonzero": "share of values that are not zero",
    "p by chance": "how often landmarks agree as well by chance; below .01 the motion is taken",
    "panel": "the genes that an instrument measured",
    "PCA on shared genes": "principal components of the genes that all slices share: what there is "
    "before LLOKI",
    "PCR comparison": "how much less variance is due to batches than in PCA?",
    "propagation": "zeros of a cell filled from similar cells nearby, up to a target from the "
    "reference",
    "q": "p, corrected for the number of pairs tried",
    "reference": "single-cell data of the same tissue: says how many zeros a cell should have",
    "rmsd, µm": "how far landmarks lie from their partners after alignment",
    "share of its labels": "how many of the cluster's labelled cells have the label in its name",
    "Silhouette batch": "do batches overlap within each type?",
    "Silhouette label": "are cell types compact and apart?",
    "sparsity": "share of the panel's genes that are zero in a cell",
    "Spatial coherence": "are neighbours in space close in the embedding too? (0.1 by chance)",
    "stability": "does it come back from other cells and starts? 1: fully",
    "together in space": "are its neighbours in space of the same cluster? 0: as by chance, 1: all",
    "UMAP": "the embedding drawn in two dimensions; only near neighbours mean something",
    "via": "the slice whose pair with this one placed it",
    "unknown": "cells unlike all labelled ones",
}
KNOWN = {name.casefold(): text for name, text in TERMS.items()}


def explained(name: object) -> str:
    """What a term means, or nothing for one that is not in the glossary."""
    return KNOWN.get(str(name).casefold(), "")
