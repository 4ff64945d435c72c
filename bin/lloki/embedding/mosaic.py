"""One low-rank model for a mosaic of gene panels: an embedding that needs no trained weights.

Each data set d (a slice, a reference) measures some of the genes. Its standardised expression,
each gene times its weight, is modelled as X_d ≈ Z_d W[genes of d]ᵀ with one loading vector per
gene, whatever the panel, and factors Z_d per cell. W and Z are alternating ridge regressions. Since
Z_d is linear in X_d, the fit needs only each data set's gene × gene correlations: its cost does not
grow with the cells.

A gene weighs by its communality in its data set, the share of its variance that the leading
components explain: most of what a gene of few counts shows is noise.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.linalg import eigh
from scipy.sparse.linalg import eigsh

from lloki.slices.genes import match_keys
from lloki.support.errors import InputError
from lloki.support.neighbours import unit_rows

CLIP = 10.0  # standard deviations: one extreme cell must not own a gene's scale
ROWS = 8192
COMPONENTS = 15  # leading components of a data set, for the communalities
LEAST = 0.02  # communality: no gene is left out
POWER = 0.25  # of the communality, as a gene's weight
STRENGTH = 0.5  # power of a factor's strength (length of its loadings) in the embedding
CELLS = 20_000  # enough for a new data set's communalities


@dataclass(frozen=True)
class MosaicModel:
    """Loadings: `genes` (G match keys, sorted), `loadings` (G × rank, float32), `ridge`."""

    genes: np.ndarray
    loadings: np.ndarray
    ridge: float


class UnlinkedError(ValueError):
    """The data set at `place` shares no gene, not even through others, with the first one."""

    def __init__(self, place: int) -> None:
        super().__init__(f"data set {place} shares no gene with the others")
        self.place = place


def gene_columns(names: object) -> tuple[np.ndarray, np.ndarray]:
    """Match keys of a panel, each once, and the column that holds it (the first of several)."""
    keys = match_keys(names)
    unique, columns = np.unique(keys.astype(str), return_index=True)
    return unique, columns


def mean_and_scale(expression: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Mean and 1 / standard deviation of each gene (G float64 each; 0 for one without variance)."""
    n = expression.shape[0]
    mean = np.asarray(expression.mean(axis=0), dtype=np.float64).ravel()
    square = np.asarray(expression.multiply(expression).sum(axis=0), dtype=np.float64).ravel() / n
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    scale = np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation > 1e-8)
    return mean, scale


def standardised(expression: sp.csr_matrix) -> Callable[[slice], np.ndarray]:
    """A function that gives rows of the matrix with each gene centred, scaled and clipped.

    The mean and the standard deviation are those of this data set; a gene without variance is 0.
    """
    mean, scale = (values.astype(np.float32) for values in mean_and_scale(expression))

    def rows(which: slice) -> np.ndarray:
        dense = (expression[which].toarray() - mean) * scale
        return np.clip(dense, -CLIP, CLIP, out=dense)

    return rows


def correlations(expression: sp.csr_matrix) -> np.ndarray:
    """Second moments of the standardised genes (G × G, float64), from blocks of cells."""
    n, genes = expression.shape
    rows, total = standardised(expression), np.zeros((genes, genes))
    for start in range(0, n, ROWS):
        block = rows(slice(start, start + ROWS))
        total += block.T @ block
    return total / n


def gene_weights(moment: np.ndarray) -> np.ndarray:
    """Weights of genes (G, mean square 1) from a data set's `correlations`, by communality."""
    genes = len(moment)
    components = min(COMPONENTS, max(2, genes // 3))
    if components >= genes or not moment.any():  # no gene varies: a slice of one cell
        return np.ones(genes)
    # Lanczos iterations where all components would take long
    if genes > 500:
        values, vectors = eigsh(moment, k=components, v0=np.ones(genes))
    else:
        values, vectors = eigh(moment, subset_by_index=(genes - components, genes - 1))
    communality = np.square(vectors) @ np.maximum(values, 0)
    weights = np.clip(communality, LEAST, 1) ** POWER
    return weights / np.sqrt(np.square(weights).mean())


def starting_order(shapes: Sequence[tuple[int, int]]) -> list[int]:
    """Data sets in the order that `fit` takes them: those that span most directions first.

    shapes: cells and genes of each. A wide panel on a handful of cells cannot start a model. Equal
    ones keep their order.
    """
    return sorted(range(len(shapes)), key=lambda d: -min(shapes[d]))


def fit(
    panels: Sequence[np.ndarray],
    moments: Sequence[np.ndarray],
    rank: int = 40,
    rounds: int = 25,
    ridge: float = 5.0,
    on_round: Callable[[], None] = lambda: None,
) -> MosaicModel:
    """Fit the loadings to all data sets, each with the same weight whatever its size.

    panels: the match keys of each data set (unique); moments: its `correlations` in that order.
    The first data set is the start: its leading eigenvectors. `rank` is cut to its genes.
    UnlinkedError if a data set is linked to the first by no chain of shared genes.
    """
    genes = np.unique(np.concatenate(panels))
    places = [np.searchsorted(genes, panel) for panel in panels]
    measured = np.zeros((len(panels), len(genes)), dtype=bool)
    for d, place in enumerate(places):
        measured[d, place] = True
    _check_linked(measured)
    rank = min(rank, len(panels[0]))
    weights = (gene_weights(moment) for moment in moments)
    moments = [m * w[:, None] * w for m, w in zip(moments, weights, strict=True)]
    loadings = np.zeros((len(genes), rank))
    loadings[places[0]] = _leading(moments[0], rank)
    patterns, pattern_of = np.unique(measured, axis=1, return_inverse=True)
    for _ in range(rounds):
        factor_moments, cross = [], np.zeros((len(genes), rank))
        for place, moment in zip(places, moments, strict=True):
            projection = _projection(loadings[place], ridge)
            gene_factor = moment @ projection
            factor_moments.append(projection.T @ gene_factor)
            cross[place] += gene_factor
        for p in range(patterns.shape[1]):
            those = pattern_of.ravel() == p
            system = sum(m for m, used in zip(factor_moments, patterns[:, p], strict=True) if used)
            system = system + ridge / 100 * np.eye(rank)
            loadings[those] = np.linalg.solve(system, cross[those].T).T
        on_round()
    return MosaicModel(genes, loadings.astype(np.float32), ridge)


class Datasets:
    """Data sets to fit a model to, taken in one at a time: only their moments are kept."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.panels: list[np.ndarray] = []
        self.moments: list[np.ndarray] = []
        self.cells: list[int] = []

    def add(self, name: str, expression: sp.csr_matrix, panel: object) -> None:
        """One more: its name (for errors), n × G log-normalised CSR, its G gene names."""
        keys, columns = gene_columns(panel)
        self.names.append(name)
        self.panels.append(keys)
        self.moments.append(correlations(expression[:, columns]))
        self.cells.append(expression.shape[0])

    @property
    def order(self) -> list[int]:
        """Their places in the order in which they are fitted."""
        shapes = [(n, len(panel)) for n, panel in zip(self.cells, self.panels, strict=True)]
        return starting_order(shapes)

    def fit(self, *settings: object) -> MosaicModel:
        """The model of all of them; `settings` are those of `fit`, from rank on.

        InputError where one shares no gene with the others, not even through others.
        """
        order = self.order
        panels, moments = ([values[d] for d in order] for values in (self.panels, self.moments))
        try:
            return fit(panels, moments, *settings)
        except UnlinkedError as error:
            raise InputError(
                self.names[order[error.place]], "it shares no gene with the other data sets",
                "leave it out, or add a reference that has its genes",
            ) from None  # fmt: skip


def embed(model: MosaicModel, expression: sp.csr_matrix, panel: object) -> np.ndarray:
    """Factors of each cell with rows of unit length (n × rank, float32) by one ridge regression.

    A factor counts by the square root of its strength, the length of its loadings.
    expression: n × G log-normalised; panel: its G gene names. ValueError if the model has none.
    """
    keys, columns = gene_columns(panel)
    known = known_genes(model, keys)
    if not known.any():
        raise ValueError("no gene of the panel is in the model")
    columns = columns[known]
    place = np.searchsorted(model.genes, keys[known])
    expression = expression[:, columns]
    some = expression[:: max(1, expression.shape[0] // CELLS)]
    projection = _projection(model.loadings[place].astype(np.float64), model.ridge)
    projection *= gene_weights(correlations(some))[:, None]
    projection *= np.linalg.norm(model.loadings, axis=0) ** STRENGTH
    projection = projection.astype(np.float32)
    rows = standardised(expression)
    blocks = [
        rows(slice(start, start + ROWS)) @ projection
        for start in range(0, expression.shape[0], ROWS)
    ]
    return unit_rows(np.concatenate(blocks))


def known_genes(model: MosaicModel, keys: np.ndarray) -> np.ndarray:
    """Which of these match keys the model has a loading for."""
    return np.isin(keys, model.genes)


def save(model: MosaicModel, folder: Path, **notes: object) -> None:
    """Write loadings.safetensors and config.json into an existing folder."""
    save_file({"loadings": model.loadings}, folder / "loadings.safetensors")
    config = {"ridge": model.ridge, **notes, "genes": model.genes.tolist()}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def load(folder: str | Path) -> MosaicModel:
    """Read what `save` wrote; InputError if it is not there or not whole."""
    try:
        config = json.loads(Path(folder, "config.json").read_text())
        loadings = load_file(Path(folder, "loadings.safetensors"))["loadings"]
        genes, ridge = np.array(config["genes"], dtype=str), float(config["ridge"])
        if loadings.ndim != 2 or genes.shape != loadings.shape[:1]:
            raise ValueError(f"{genes.size} genes for {len(loadings)} loadings")
    except (OSError, KeyError, ValueError, TypeError, RecursionError, SafetensorError) as error:
        reason = str(error) if isinstance(error, (OSError, ValueError)) else "it is damaged"
        remedy = "give a folder that fit_mosaic.py wrote"
        raise InputError(folder, f"not a mosaic model ({reason})", remedy) from None
    return MosaicModel(genes, loadings, ridge)


def _projection(loadings: np.ndarray, ridge: float) -> np.ndarray:
    """P with Z = X P, the ridge regression of X on the loadings."""
    gram = loadings.T @ loadings + ridge * np.eye(loadings.shape[1])
    return np.linalg.solve(gram, loadings.T).T


def _leading(moment: np.ndarray, rank: int) -> np.ndarray:
    """Principal axes of a data set scaled to its factors' unit variance, signs made definite."""
    values, vectors = np.linalg.eigh(moment)
    values, vectors = values[::-1][:rank], vectors[:, ::-1][:, :rank]
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(rank)])
    return vectors * signs * np.sqrt(np.maximum(values, 0))


def _check_linked(measured: np.ndarray) -> None:
    links = sp.csr_matrix(measured.astype(np.int32) @ measured.T.astype(np.int32) > 0)
    parts, part = sp.csgraph.connected_components(links, directed=False)
    if parts > 1:
        raise UnlinkedError(int(np.flatnonzero(part != part[0])[0]))
