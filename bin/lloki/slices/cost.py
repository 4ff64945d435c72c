"""What a run will take: processor time and memory, reckoned from the sizes of its slices.

By the figures of docs/performance.md, on one core of a server of today; a factor of two either way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

EXACT = 200_000  # cells up to which neighbours are searched exactly, each with each
FITTED = SCORED = 50_000  # cells behind a UMAP, and of each of three samples that are scored
START = 1.5  # seconds of a script before its work, PyTorch aside
TRAINED = 300_000  # cells that the autoencoder is trained on at most
PAIRED, LANDMARKS = 8, 20_000  # other slices that one is aligned with at most; cells compared
CHUNK, EPOCHS, STEPS = 2000, 20, 600  # of the autoencoder: cells a step, least epochs and steps
FIT = 0.8e-3  # seconds a cell of a fit of 15 metagenes, 200 iterations
FACTORED = 500, 200_000  # cells of which metagenes are found unasked, as functions/task.nf has it
REFITTED = 20_000  # cells of each of three refits, a fourth as long
STEP = {"mosaic": 0.12, "scgpt": 0.32}  # seconds of a step, by what embedded the cells


@dataclass(frozen=True)
class Size:
    """A slice: cells, genes, genes that a cell has in the mean; the group that it is aligned in."""

    cells: int
    genes: int
    expressed: float
    group: str = ""


def finds_metagenes(slices: Sequence[Size]) -> bool:
    """Whether metagenes of slices are found where nothing was said of it."""
    return FACTORED[0] <= sum(size.cells for size in slices) <= FACTORED[1]


def cpu_seconds(
    slices: Sequence[Size],
    embedder: str = "mosaic",
    embeddings: int = 3,
    metagenes: bool = False,
    niches: int = 0,
) -> dict[str, float]:
    """Processor seconds by part of the run.

    embedder: mosaic, scgpt, or brought (slices go as they are to the autoencoder); embeddings: how
    many are scored; niches: pairs of kinds.
    """
    cells = sum(size.cells for size in slices)
    alone = sum(
        6 * START + 4.5e-9 * size.cells * min(size.cells, EXACT) + 7.4e-7 * size.cells * size.genes
        for size in slices
    )
    if embedder == "brought":  # read and taken, nothing filled
        alone = 2 * START * len(slices)
    scgpt = embedder == "scgpt"
    embed = sum(_scgpt(size) if scgpt else START + 5e-5 * size.cells for size in slices)
    trained = min(cells, TRAINED)
    steps = max(STEPS, EPOCHS * trained / CHUNK)
    step = STEP["scgpt" if scgpt else "mosaic"]
    train = START + step * steps + 2.2e-9 * trained * min(trained, EXACT * len(slices))
    return {
        "slices": alone,
        "embedding": embed + 2 * START,
        "training": train + 10 * len(slices) + 2e-5 * cells,
        "alignment": 4 * START + sum(map(_pairs, _groups(slices))) + 5e-5 * cells,
        "joining": 2 * START + 6e-5 * cells + 3 * _umap(cells),
        "scores": embeddings * (10 + 1.2e-3 * min(cells, SCORED) * (3 if cells > SCORED else 1)),
        "annotation": 3 * START + 20 + 6e-4 * cells,
        "metagenes": metagenes * (2 * START + FIT * (cells + 0.75 * min(cells / 2, REFITTED))),
        "niches": bool(niches) * START + niches * (1.5 + 1.5e-4 * cells),
        "report": 15 + 1e-4 * cells,
    }  # fmt: skip


def _umap(cells: int) -> float:
    """A UMAP fitted to FITTED cells at most, each of which the other cells are compared with."""
    fitted = min(cells, FITTED)
    return 10 + 6e-4 * fitted + 5e-9 * fitted * (cells - fitted)


def _groups(slices: Sequence[Size]) -> list[list[int]]:
    """The cells of the slices of each group."""
    groups: dict[str, list[int]] = {}
    for size in slices:
        groups.setdefault(size.group, []).append(size.cells)
    return list(groups.values())


def _pairs(cells: Sequence[int]) -> float:
    """Alignment of a group, of whose slices 20,000 cells are compared at most."""
    looked_at = sum(min(n, LANDMARKS) for n in cells) / len(cells)
    return len(cells) * min(len(cells) - 1, PAIRED) / 2 * (2 + 1.1e-3 * looked_at)


def _scgpt(size: Size) -> float:
    """scGPT by one core, 12 layers of 512: 6.9 cells a second at 250 genes, 1.1 at 1,000."""
    return 15 + size.cells * 0.146 * (max(size.expressed, 1) / 250) ** 1.3


def memory_gb(
    slices: Sequence[Size], embedder: str = "mosaic", metagenes: bool = False
) -> dict[str, float]:
    """Peak gigabytes of the largest task of each part; those of two tasks at a time add up."""
    cells = sum(size.cells for size in slices)
    values = sum(size.cells * size.expressed for size in slices)
    largest = max(0.15 + 2e-6 * size.cells + 1.25e-8 * size.cells * size.genes for size in slices)
    return {
        "slices": largest,
        "embedding": (1.3 if embedder == "scgpt" else 0.3)
        + 2e-6 * max(size.cells for size in slices),
        "training": 1.2 + (7e-7 * cells + 1.2e-8 * values) * min(1, TRAINED / cells),
        "joining": 0.4 + 7e-7 * cells + 1e-5 * min(cells, FITTED) + 1.2e-8 * values / len(slices),
        "annotation": 0.3 + 1e-5 * min(cells, EXACT) + 2e-6 * cells,
        "metagenes": metagenes * (0.3 + 3e-6 * cells + 1.2e-8 * values / len(slices)),
        "scores": 1.2 + 1.2e-5 * min(cells, SCORED) + 1.5e-6 * cells,
    }
