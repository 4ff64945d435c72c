"""All slices labelled from all sources, and held against slices whose labels were hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lloki.annotation import transfer, transfer_calibration, transfer_unknown
from lloki.annotation.transfer import Atlas, Votes
from lloki.annotation.transfer_calibration import Held
from lloki.embedding import mosaic
from lloki.slices import genes

KINDS = ("reference", "slices")


@dataclass(frozen=True)
class Cells:
    """All cells, slice after slice in any order.

    sample, technology, panel: n text each; fp: n × r, the embedding before integration; lloki:
    n × d, after it; genes: names of the genes of each sample.
    """

    sample: np.ndarray
    technology: np.ndarray
    panel: np.ndarray
    fp: np.ndarray
    lloki: np.ndarray
    genes: Mapping[str, Sequence[str]]

    @cached_property
    def rows(self) -> dict[str, np.ndarray]:
        """Rows of each sample, by name."""
        return {str(s): np.flatnonzero(self.sample == s) for s in np.unique(self.sample)}


@dataclass(frozen=True)
class Said:
    """Of a slice's cells: share of each label (n × C), the reference's part of it (n × C), how
    foreign the cells are (n), and which labels the sources have (C).
    """

    probability: np.ndarray
    of_reference: np.ndarray
    foreign: np.ndarray
    covered: np.ndarray


@dataclass(frozen=True)
class Found:
    """Of a slice's cells: calibrated probabilities (n × C), the kind of source of the likeliest
    label (n), p of being of a type that the sources cover (n; NaN: there was nothing to test by),
    how many labels have a curve of calibration, whether p is by halves of the reference.
    """

    probability: np.ndarray
    source: np.ndarray
    p: np.ndarray
    curves: int = 0
    by_reference: bool = False


class Labelling:
    """Labels of one vocabulary carried over to all cells.

    labels: C names; codes: of all cells (−1: none that may be used); atlases: references by name;
    reference_of: which of them a sample has (none: the one that shares most genes with it);
    model: of the mosaic, where there are references.
    """

    def __init__(
        self,
        cells: Cells,
        labels: Sequence[str],
        codes: np.ndarray,
        atlases: Mapping[str, Atlas] | None = None,
        model: mosaic.MosaicModel | None = None,
        reference_of: Mapping[str, str] | None = None,
        seed: int = 0,
    ) -> None:
        self.cells, self.labels, self.codes, self.seed = cells, list(labels), codes, seed
        self.atlases, self.model = dict(atlases or {}), model
        self.reference_of = dict(reference_of or {})
        self._near: dict[str, np.ndarray] = {}
        self._views: dict[str, np.ndarray] = {}
        self._of_reference: dict[str, Votes] = {}
        self._curves: dict[str, transfer_calibration.Calibration] = {}
        self._groups: dict[tuple[str, ...], list[tuple[Held, Said]]] = {}

    @cached_property
    def labelled(self) -> dict[str, str]:
        """The technology of each sample that has a label."""
        rows = self.cells.rows
        known = [s for s in rows if (self.codes[rows[s]] >= 0).any()]
        return {s: str(self.cells.technology[rows[s][0]]) for s in known}

    def said(self, sample: str, hidden: frozenset[str] = frozenset()) -> Said | None:
        """What the sources say of a sample without labels of `hidden`; None without a source."""
        rows, name = self.cells.rows[sample], self._atlas(sample)
        others = np.flatnonzero(~np.isin(self.cells.sample, list(hidden)) & (self.codes >= 0))
        has = np.bincount(self.codes[others], minlength=len(self.labels)) > 0
        kinds, votes = [], []
        if name is not None:
            kinds, votes = [0], [self._ask_reference(sample, name)]
            has[np.unique(self.atlases[name].codes[self.atlases[name].codes >= 0])] = True
        if len(others):
            space = self.cells.lloki
            kinds.append(1)
            votes.append(transfer.ask(space[rows], space[others], self.codes[others], len(has),
                                      self.seed))  # fmt: skip
        if not votes:
            return None
        same = (self.cells.panel[others] == self.cells.panel[rows[0]]).any()
        first = transfer.REFERENCE_OF_PANEL if same else transfer.REFERENCE
        weights = [(first, 1 - first)[kind] for kind in kinds]
        return _joined(self._near_of(sample), votes, weights, kinds, has)

    def held_out(self, technology: str) -> list[tuple[Held, Said]]:
        """What was said of labelled slices without their labels, as near as can be to the case.

        Two labelled slices or more of this technology: each alone hidden; else each technology is,
        or, where nothing is left then, each slice. The labels that the sources had count.
        """
        names = sorted(set(self.labelled.values()))
        mates = sorted(s for s, own in self.labelled.items() if own == technology)
        groups = [[s] for s in mates]
        if len(mates) < 2:
            groups = [[s for s, own in sorted(self.labelled.items()) if own == t] for t in names]
        found = [pair for group in groups for pair in self.without(group)]
        return found or [pair for s in sorted(self.labelled) for pair in self.without([s])]

    def without(self, samples: Sequence[str]) -> list[tuple[Held, Said]]:
        """What is said of these labelled samples with the labels of all of them hidden."""
        key = tuple(samples)
        if key not in self._groups:
            said = {s: self.said(s, frozenset(samples)) for s in samples}
            self._groups[key] = [
                (self._held(s, one, samples), one) for s, one in said.items() if one is not None
            ]
        return self._groups[key]

    def found(self, sample: str) -> Found | None:
        """The labels of a sample's cells, its own where all have one; None without a source."""
        codes = self.codes[self.cells.rows[sample]]
        if (codes >= 0).all():
            share = np.eye(len(self.labels))[codes]
            return Found(share, np.full(len(codes), KINDS[1]), np.full(len(codes), np.nan))
        said = self.said(sample)
        if said is None:
            return None
        technology = str(self.cells.technology[self.cells.rows[sample][0]])
        held = [pair for pair in self.held_out(technology) if (pair[0].codes >= 0).any()]
        if technology not in self._curves:
            self._curves[technology] = transfer_calibration.choose([one for one, _ in held])
        return self.judged(sample, said, held, self._curves[technology])

    def judged(
        self,
        sample: str,
        said: Said,
        held: Sequence[tuple[Held, Said]],
        curves: transfer_calibration.Calibration | None = None,
    ) -> Found:
        """What was said of a sample, calibrated and tested against held-out cells.

        curves: those of the held-out cells, where they are known already.
        """
        curves = curves or transfer_calibration.choose([one for one, _ in held])
        probability = curves.apply(said.probability)
        label = said.probability.argmax(axis=1)
        foreign, against = said.foreign, [_foreign(*pair) for pair in held]
        by_reference = not against
        if by_reference and self._atlas(sample) is not None:
            foreign, against = self._against_reference(sample, said)
            label = np.zeros_like(label)
        p = np.full(len(label), np.nan)
        if against:
            p = transfer_unknown.p_values(foreign, label, against)
        cells = np.arange(len(label))
        best = probability.argmax(axis=1)
        half = said.probability[cells, best] / 2
        source = np.where(said.of_reference[cells, best] >= half, *KINDS)
        by_reference &= bool(against)
        return Found(probability, source, p, len(curves.curves), by_reference)

    def _atlas(self, sample: str) -> str | None:
        """The reference of a sample: the one it was given, else the one of most shared genes."""
        if not self.atlases:
            return None
        if self.reference_of.get(sample) in self.atlases:
            return self.reference_of[sample]
        panel = np.asarray(self.cells.genes[sample])
        shared = {a: len(genes.shared(panel, self.atlases[a].symbols)[0]) for a in self.atlases}
        return max(sorted(shared), key=shared.get)

    def _whole(self, name: str) -> np.ndarray:
        """A reference in the mosaic space, with all its genes."""
        if name not in self._views:
            atlas = self.atlases[name]
            self._views[name] = mosaic.embed(self.model, atlas.expression, atlas.symbols)
        return self._views[name]

    def _ask_reference(self, sample: str, name: str) -> Votes:
        if sample not in self._of_reference:
            query = self.cells.fp[self.cells.rows[sample]]
            views = [self._whole(name), *self._through_panel(sample, name)]
            self._of_reference[sample] = transfer.ask_views(
                query, views, self.atlases[name].codes, len(self.labels), self.seed
            )
        return self._of_reference[sample]

    def _through_panel(self, sample: str, name: str) -> list[np.ndarray]:
        panel = self.cells.genes[sample]
        view = transfer.through_panel(self.model, self.atlases[name], panel)
        return [] if view is None else [view]

    def _near_of(self, sample: str) -> np.ndarray:
        if sample not in self._near:
            space = self.cells.fp[self.cells.rows[sample]]
            self._near[sample] = transfer.own_neighbours(space)
        return self._near[sample]

    def _held(self, sample: str, said: Said, hidden: Sequence[str]) -> Held:
        codes = self.codes[self.cells.rows[sample]]
        known = (codes >= 0) & said.covered[np.maximum(codes, 0)]
        return Held(" ".join(hidden), said.probability, np.where(known, codes, -1))

    def _against_reference(self, sample: str, said: Said):
        """How foreign the cells are, and those of one half of the reference to the other.

        As there is no slice to measure by, in units of the median of each, all labels together.
        """
        name = self._atlas(sample)
        codes, near = self.atlases[name].codes, self._near_of(sample)
        views = self._through_panel(sample, name) or [self._whole(name)]
        order = np.random.default_rng(self.seed).permutation(len(codes))
        asked, base = np.sort(order[::2]), np.sort(order[1::2])
        if not (codes[base] >= 0).any():
            return said.foreign, []
        query = views[0][asked]
        votes = transfer.ask(query, views[0][base], codes[base], len(self.labels), self.seed)
        own = transfer.own_neighbours(query)
        share = transfer.together([votes], [1.0], own)
        scores = transfer_unknown.foreignness([votes], share, own, relative=True)
        known = codes[asked] >= 0
        against = [(scores[known], np.zeros(known.sum(), dtype=int))] if known.any() else []
        asked_votes = [self._ask_reference(sample, name)]
        foreign = transfer_unknown.foreignness(asked_votes, said.probability, near, relative=True)
        return foreign, against


def _joined(near, votes, weights, kinds, covered) -> Said:
    """All kinds of sources together; what the reference says is kept apart, too."""
    probability = transfer.together(votes, weights, near)
    of_reference = np.zeros_like(probability)
    if 0 in kinds:
        share = weights[0] / sum(weights)
        of_reference = share * transfer.averaged(votes[0].share, near)
    foreign = transfer_unknown.foreignness(votes, probability, near)
    return Said(probability, of_reference, foreign, covered)


def _foreign(held: Held, said: Said) -> tuple[np.ndarray, np.ndarray]:
    """How foreign held-out cells of known types are, and the labels that they were given."""
    known = held.codes >= 0
    return said.foreign[known], said.probability[known].argmax(axis=1)
