"""One factor model for a mosaic of gene panels: an embedding that needs no trained weights.

Each data set (a slice, a reference) measures some of the genes. `factors` models their standardised
expression with one loading vector per gene, whatever the panel, and a gain and noise for each gene
of each data set. A cell's embedding is the posterior mean of its factors: what its panel says of
them. That is linear in its expression, so the fit needs only each data set's gene × gene
correlations: its cost does not grow with the cells.
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

from lloki.embedding.factors import Caught, leading, solve_loadings
from lloki.slices.genes import match_keys
from lloki.support.errors import InputError
from lloki.support.neighbours import unit_rows

FORM = 2  # of the stored model
CLIP = 10.0  # standard deviations: one extreme cell must not own a gene's scale
ROWS = 8192
COMPONENTS = 15  # leading components of a data set, for the communalities
LEAST = 0.02  # communality: no gene is left out
POWER = 0.25  # of the communality, as a gene's weight
STRENGTH = 0.5  # power of a factor's strength (length of its loadings) in the embedding
CELLS = 20_000  # enough for a new data set's gains and noise
FULL = 1000  # cells from which on a data set has its full weight
SETTLE = 20  # rounds for the gains and noise of a data set, given the loadings


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
    ridge: float = 0.3,
    on_round: Callable[[], None] = lambda: None,
    cells: Sequence[int] | None = None,
) -> MosaicModel:
    """Fit the loadings to all data sets, each with the same weight but those of few cells.

    panels: the match keys of each data set (unique); moments: its `correlations` in that order;
    ridge: of a gene's loadings; cells: of each data set (None: many). The first data set is the
    start: its leading eigenvectors. `rank` is cut to its genes. UnlinkedError if a data set is
    linked to the first by no chain of shared genes.
    """
    genes = np.unique(np.concatenate(panels))
    places = [np.searchsorted(genes, panel) for panel in panels]
    measured = np.zeros((len(panels), len(genes)), dtype=bool)
    for d, place in enumerate(places):
        measured[d, place] = True
    _check_linked(measured)
    rank = min(rank, len(panels[0]))
    weights = np.minimum(1, np.array(cells or [FULL] * len(panels)) / FULL)
    loadings = np.zeros((len(genes), rank))
    loadings[places[0]] = leading(moments[0], rank)
    caught = [Caught.at_first(moment) for moment in moments]
    for _ in range(rounds):
        found = [
            c.expectation(loadings[place], moment)
            for c, place, moment in zip(caught, places, moments, strict=True)
        ]
        loadings = solve_loadings(caught, found, places, weights, loadings.shape, ridge)
        caught = [
            c.again(loadings[place], moment, *f)
            for c, place, moment, f in zip(caught, places, moments, found, strict=True)
        ]
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
        panels, moments, cells = (
            [values[d] for d in order] for values in (self.panels, self.moments, self.cells)
        )
        try:
            return fit(panels, moments, *settings, cells=cells)
        except UnlinkedError as error:
            raise InputError(
                self.names[order[error.place]], "it shares no gene with the other data sets",
                "leave it out, or add a reference that has its genes",
            ) from None  # fmt: skip


def embed(model: MosaicModel, expression: sp.csr_matrix, panel: object) -> np.ndarray:
    """Factors of each cell with rows of unit length (n × rank, float32): their posterior means.

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
    loadings, moment = model.loadings[place].astype(np.float64), correlations(some)
    caught = Caught.at_first(moment)
    for _ in range(SETTLE):
        caught = caught.again(loadings, moment, *caught.expectation(loadings, moment))
    projection, _ = caught.projection(loadings)
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
    config = {"form": FORM, "ridge": model.ridge, **notes, "genes": model.genes.tolist()}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def load(folder: str | Path) -> MosaicModel:
    """Read what `save` wrote; InputError if it is not there or not whole."""
    try:
        config = json.loads(Path(folder, "config.json").read_text())
        if "form" not in config or config["form"] != FORM:
            raise ValueError("fitted by another version of the pipeline")
        loadings = load_file(Path(folder, "loadings.safetensors"))["loadings"]
        genes, ridge = np.array(config["genes"], dtype=str), float(config["ridge"])
        if loadings.ndim != 2 or genes.shape != loadings.shape[:1]:
            raise ValueError(f"{genes.size} genes for {len(loadings)} loadings")
    except (OSError, KeyError, ValueError, TypeError, RecursionError, SafetensorError) as error:
        reason = str(error) if isinstance(error, (OSError, ValueError)) else "it is damaged"
        remedy = "give a folder that fit_mosaic.py wrote"
        raise InputError(folder, f"not a mosaic model ({reason})", remedy) from None
    return MosaicModel(genes, loadings, ridge)


def _check_linked(measured: np.ndarray) -> None:
    links = sp.csr_matrix(measured.astype(np.int32) @ measured.T.astype(np.int32) > 0)
    parts, part = sp.csgraph.connected_components(links, directed=False)
    if parts > 1:
        raise UnlinkedError(int(np.flatnonzero(part != part[0])[0]))
