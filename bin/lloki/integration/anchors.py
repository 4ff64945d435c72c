"""Cells that a trained model keeps of its slices: what a new batch finds its pairs among.

Of each slice some cells, rare groups among them, as pairs see them: averaged over their near ones.
So a new technology is adapted to the model alone; none of the old slices is read again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from lloki.integration import pairs, sketch
from lloki.integration.pairs import Expression, View
from lloki.support.errors import InputError
from lloki.support.storage import take

MOST = 5_000  # cells of a batch
GENES = 1_000  # of a slice: those whose variance is most of it shared
NAMES = "anchors.safetensors", "anchors.json"


@dataclass(frozen=True)
class Anchored:
    """Some cells of a slice.

    token: its technology and panel; embedding: n × d float32; view: what pairs are found in, its
    rows numbered from 0, every cell averaged already; labels: n, or None.
    """

    sample: str
    token: tuple[str, str]
    embedding: np.ndarray
    view: View
    labels: np.ndarray | None = None


@dataclass(frozen=True)
class Anchors:
    """Cells of all slices of a model.

    axes: of its search space (`pairs.search_axes`); reference: what slices are laid onto (m × d).
    """

    axes: np.ndarray | None
    slices: list[Anchored]
    reference: np.ndarray | None = None

    @property
    def embedding(self) -> np.ndarray:
        """All their embeddings (n × d float32), slice after slice."""
        return np.concatenate([part.embedding for part in self.slices])

    def views(self, start: int) -> list[View]:
        """The view of each slice, its rows counted from `start` on."""
        found = []
        for part in self.slices:
            found.append(replace(part.view, rows=part.view.rows + start))
            start += len(part.embedding)
        return found

    def labels(self) -> np.ndarray | None:
        """All labels (n); None where a slice has none."""
        parts = [part.labels for part in self.slices]
        return None if any(part is None for part in parts) else np.concatenate(parts)


def draw(
    embedding: np.ndarray,
    views: Sequence[View],
    samples: Sequence[str],
    tokens: Sequence[tuple[str, str]],
    labels: np.ndarray | None = None,
    seed: int = 0,
) -> list[Anchored]:
    """Of each batch MOST cells at most, its slices in proportion, rare groups among them.

    embedding: n × d of all cells, also a memory map; views, samples, tokens: of each slice; labels:
    n or None.
    """
    found: dict[str, Anchored] = {}
    for token in dict.fromkeys(tokens):
        members = [s for s, other in enumerate(tokens) if other == token]
        rows = np.concatenate([views[s].rows for s in members])
        of_slice = np.repeat(members, [len(views[s].rows) for s in members])
        if len(rows) > MOST:
            kept = sketch.representatives(take(embedding, rows), of_slice, MOST, seed)
            rows, of_slice = rows[kept], of_slice[kept]
        for s in members:
            own = rows[of_slice == s]
            if len(own):
                known = None if labels is None else labels[own]
                part = _some(views[s], own - views[s].rows[0])
                cells = np.asarray(take(embedding, own), np.float32)
                found[samples[s]] = Anchored(samples[s], token, cells, part, known)
    return [found[sample] for sample in samples if sample in found]


def _some(view: View, places: np.ndarray) -> View:
    """Some cells of a slice (places in it, sorted), averaged already, the best GENES of its genes.

    Expression is kept in half precision: so is it used, whether it was stored or not.
    """
    e = view.expression
    if e is not None:
        best = np.sort(np.argsort(-e.weights, kind="stable")[:GENES])
        values = (pairs.averaging(view.near)[places] @ e.values[:, best]).toarray()
        values = sp.csr_matrix(values.astype(np.float16).astype(np.float32))
        e = Expression(values, e.keys[best], e.mean[best], e.scale[best], e.weights[best])
    return _averaged(view.space[places], e)


def _averaged(space: np.ndarray, expression: Expression | None) -> View:
    """The view of cells that are averaged already: each is near itself alone."""
    rows = np.arange(len(space), dtype=np.int32)
    return View(rows, rows[:, None], space, expression)


def save(anchors: Anchors, folder: Path) -> None:
    """Write the two files called NAMES into an existing folder."""
    common = {"axes": anchors.axes, "reference": anchors.reference}
    arrays = {name: value for name, value in common.items() if value is not None}
    notes = []
    for i, part in enumerate(anchors.slices):
        e = part.view.expression
        own = {"embedding": part.embedding, "space": part.view.space}
        if e is not None:
            own |= {"values": e.values.toarray().astype(np.float16), "mean": e.mean,
                    "scale": e.scale, "weights": e.weights}  # fmt: skip
        arrays |= {f"{i}.{name}": np.ascontiguousarray(value) for name, value in own.items()}
        notes.append({
            "sample": part.sample, "technology": part.token[0], "panel": part.token[1],
            "genes": None if e is None else e.keys.tolist(),
            "labels": None if part.labels is None else part.labels.tolist(),
        })  # fmt: skip
    save_file(arrays, folder / NAMES[0])
    (folder / NAMES[1]).write_text(json.dumps(notes, indent=1) + "\n")


def load(folder: str | Path) -> Anchors:
    """Read what `save` wrote; InputError if it is not there or not whole."""
    try:
        notes = json.loads(Path(folder, NAMES[1]).read_text())
        arrays = load_file(Path(folder, NAMES[0]))
        slices = [_read(f"{i}.", arrays, note) for i, note in enumerate(notes)]
    except (OSError, KeyError, ValueError, TypeError, RecursionError, SafetensorError) as error:
        reason = str(error) if isinstance(error, (OSError, ValueError)) else "they are damaged"
        raise InputError(
            folder, f"the cells that it keeps of its slices cannot be read ({reason})",
            "give a model of this version of the pipeline: train it again",
        ) from None  # fmt: skip
    return Anchors(arrays.get("axes"), slices, arrays.get("reference"))


def _read(prefix: str, arrays: dict[str, np.ndarray], note: dict) -> Anchored:
    embedding, space = arrays[f"{prefix}embedding"], arrays[f"{prefix}space"]
    expression, genes = None, note["genes"]
    if genes is not None:
        values = sp.csr_matrix(arrays[f"{prefix}values"].astype(np.float32))
        about = [arrays[f"{prefix}{name}"] for name in ("mean", "scale", "weights")]
        if values.shape != (len(space), len(genes)) or any(len(a) != len(genes) for a in about):
            raise ValueError(f"{values.shape} values for {len(genes)} genes")
        expression = Expression(values, np.array(genes, dtype=str), *about)
    labels = note["labels"] and np.array(note["labels"], dtype=str)
    if len(space) != len(embedding) or (labels is not None and len(labels) != len(space)):
        raise ValueError(f"{len(space)} cells for {len(embedding)} embeddings")
    token = note["technology"], note["panel"]
    return Anchored(note["sample"], token, embedding, _averaged(space, expression), labels)
