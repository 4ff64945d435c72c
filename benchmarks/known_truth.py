#!/usr/bin/env python3
"""How much of what is true of the cells survives integration, where the truth is known.

A slice's cells are split at random into two halves that share no cell. Each half has a panel of its
own, and `--share` of the genes are in both; the second half is thinned and noised as another
technology would (support/halves.py). In the undisturbed full panel (cosine, 50 principal
components) every cell has 15 nearest cells in the other half.

kept: share of these among the 15 nearest cells of the other half in an embedding; labels: macro F1
of the labels that the 15 nearest of the other half vote for (`--label-key`); mixing: share of the
other half among the 30 nearest, as a multiple of that by chance.

Two ceilings: the whole panel, thinned and noised alike, and what each half's own panel says of the
full panel's components at most (ridge regression trained with the truth on other cells).
"""

import sys
from pathlib import Path

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bin"), str(Path(__file__).parent)]

NEAREST, AROUND, COMPONENTS = 15, 30, 50
HEADS = "kept", "labels", "mixing"


@click.command()
@click.option("--slice", "slices", multiple=True, required=True, metavar="FILE[,REFERENCE]")
@click.option("--share", "shares", multiple=True, type=click.FloatRange(0, 1), default=(0.5, 0.1),
              show_default=True, help="Of the genes, in both panels; repeatable.")  # fmt: skip
@click.option("--seeds", default=2, show_default=True, help="Splits of a slice.")
@click.option("--most", default=2000, show_default=True, help="Cells of a half at most.")
@click.option("--label-key", default="cell_type", show_default=True)
@click.option("--method", "methods", multiple=True, help="Another method, such as harmony_fp.")
@click.option("--no-autoencoder", is_flag=True, help="Only what comes before it.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Training option.")
def main(slices, shares, seeds, most, label_key, methods, no_autoencoder, settings) -> None:
    """Print a row for each method: means over the splits of a slice."""
    print(f"{'':44}" + "".join(f"{head:>9}" for head in HEADS))
    options = dict(s.split("=") for s in settings)
    for entry in slices:
        path, *references = entry.split(",")
        for share in shares:
            found = {}
            for seed in range(seeds):
                truth = Truth(path, references, share, seed, most, label_key)
                for name, spaces in embeddings(truth, methods, no_autoencoder, options, seed):
                    found.setdefault(name, []).append(truth.scores(*spaces))
            for name, values in found.items():
                mean = np.mean(values, axis=0)
                print(f"{Path(path).stem[:18]:19}{share:4.0%} {name:20}"
                      + "".join(f"{v:9.3f}" for v in mean), flush=True)  # fmt: skip


class Truth:
    """Both halves of a slice as slices of their own, and where their cells truly lie."""

    def __init__(self, path, references, share, seed, most, label_key) -> None:
        import anndata as ad
        from support import halves

        from lloki.propagation.graph import principal_components
        from lloki.slices import files

        data = halves.read(path, 1.0)
        self.references = references
        self.atlases = [files.read_reference(reference) for reference in references]
        data.obs["place"] = np.arange(data.n_obs)
        parts = halves.halves(data, share, seed, most=most)
        self.cells = [
            files.prepare(part, path, sample=f"half{i}", technology=f"technology{i}")
            for i, part in enumerate(parts)
        ]
        self.rows = [cells.obs["place"].to_numpy(int) for cells in self.cells]
        self.first = len(self.rows[0])
        both = np.concatenate(self.rows)
        self.full = files.log_normalise(data.X)[both]
        self.true = principal_components(self.full, COMPONENTS)
        noisy = data[self.rows[1]]
        noisy = ad.AnnData(halves.noised(noisy.X, noisy.obsm["spatial"],
                                         np.random.default_rng(seed)))  # fmt: skip
        self.alike = files.log_normalise(data.X)[self.rows[0]], files.log_normalise(noisy.X)
        self.nearest = self._nearest(self.true[: self.first], self.true[self.first :])
        known = data.obs[label_key].astype(str).to_numpy() if label_key in data.obs else None
        self.labels = None if known is None else [known[rows] for rows in self.rows]

    def scores(self, first, second) -> list[float]:
        """HEADS of an embedding of both halves."""
        found = self._nearest(first, second)
        pairs = zip(self.nearest, found, strict=True)
        kept = [len(set(a) & set(b)) / NEAREST for near, now in pairs
                for a, b in zip(near, now, strict=True)]  # fmt: skip
        return [np.mean(kept), self._transfer(found), mixing(first, second)]

    def _nearest(self, first, second):
        """The nearest cells of the other half, for both halves."""
        from lloki.support.neighbours import nearest, unit_rows

        sides = [unit_rows(np.asarray(s, np.float32)) for s in (first, second)]
        return [nearest(*sides, NEAREST)[0], nearest(*sides[::-1], NEAREST)[0]]

    def _transfer(self, found) -> float:
        from sklearn.metrics import f1_score

        if self.labels is None:
            return np.nan
        scores = []
        for near, own, other in zip(found, self.labels, self.labels[::-1], strict=True):
            kinds, codes = np.unique(other, return_inverse=True)
            votes = (codes[near][:, :, None] == np.arange(len(kinds))).sum(axis=1)
            guess = kinds[votes.argmax(axis=1)]
            scores.append(f1_score(own, guess, average="macro", labels=np.unique(own)))
        return np.mean(scores)

    def ceiling(self):
        """The full panel's components by ridge regression from each half's own panel, two-fold."""
        sides = []
        for cells, true in zip(self.cells, np.split(self.true, [self.first]), strict=True):
            x = cells.X.toarray()
            x, fold = (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-6), np.arange(len(x)) % 2
            guess = np.empty_like(true)
            for k in (0, 1):
                known, asked = x[fold != k], x[fold == k]
                gram = known.T @ known + 50 * np.eye(x.shape[1])
                guess[fold == k] = asked @ np.linalg.solve(gram, known.T @ true[fold != k])
            sides.append(guess)
        return sides

    def whole_panel(self):
        """Components of the whole panel, the second half noised."""
        import scipy.sparse as sp

        from lloki.propagation.graph import principal_components

        centred = [sp.csr_matrix(part) for part in self.alike]
        space = principal_components(sp.vstack(centred, format="csr"), COMPONENTS)
        sides = np.split(space, [self.first])
        return [side - side.mean(axis=0) for side in sides]


def mixing(first, second) -> float:
    """Share of the other half among the nearest of both, as a multiple of that by chance."""
    from lloki.support.neighbours import nearest, unit_rows

    both = unit_rows(np.concatenate([first, second]).astype(np.float32))
    side = np.repeat([0, 1], [len(first), len(second)])
    near = nearest(both, both, AROUND + 1)[0][:, 1:]
    expected = np.array([len(second), len(first)])[side] / len(side)
    return float(((side[near] != side[:, None]).mean(axis=1) / expected).mean())


def embeddings(truth, methods, no_autoencoder, options, seed):
    """Names and both halves' embeddings, one after the other."""
    import integration

    matrices = [
        integration.propagate(c, truth.atlases) if truth.atlases else c.X for c in truth.cells
    ]
    yield "PCA, shared genes", np.split(integration.before(truth.cells), [truth.first])
    spaces = integration.embed(truth.cells, matrices, truth.atlases)
    yield "LLOKI-FP", spaces
    for method in methods:
        space = integration.baseline(method, truth.cells, seed, spaces, truth.references)
        if space is not None:
            yield method, np.split(space, [truth.first])
    if not no_autoencoder:
        space = integration.integrate(spaces, truth.cells, seed, options)
        yield "LLOKI", np.split(space, [truth.first])
    yield "panels hold at most", truth.ceiling()
    yield "whole panel, noised", truth.whole_panel()


if __name__ == "__main__":
    main()
