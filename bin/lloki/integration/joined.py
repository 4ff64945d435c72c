"""All slices in one object: their cells, the baseline on shared genes, UMAPs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from lloki.integration import sketch
from lloki.slices.genes import shared, union
from lloki.support.search import find_neighbours

BASELINE = "X_pca_shared"
UMAP_KEYS = {"X_lloki": "X_umap", "X_lloki_fp": "X_umap_fp"}
NAMES = {BASELINE: "PCA on shared genes", "X_lloki_fp": "LLOKI-FP", "X_lloki": "LLOKI"}
UMAP_NEIGHBOURS = 15


def umap_key(embedding: str) -> str:
    """The obsm key under which the UMAP of an embedding is kept."""
    return UMAP_KEYS.get(embedding, f"X_umap_{embedding.removeprefix('X_')}")


def join_obs(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The obs of all slices under one another, with every column that any of them has.

    Numbers stay numbers (NaN where a slice lacks the column); everything else becomes categories,
    united in the order of the slices. Cell names must be unique over all tables.
    """
    cells = pd.Index(np.concatenate([table.index for table in tables]))
    columns = dict.fromkeys(name for table in tables for name in table.columns)
    joined = pd.DataFrame(index=cells)
    for name in columns:
        parts = [table[name] for table in tables if name in table]
        if all(pd.api.types.is_numeric_dtype(p) and p.dtype != bool for p in parts):
            joined[name] = pd.concat(parts).reindex(cells)
            continue
        text = pd.concat([part.astype(object) for part in parts]).reindex(cells)
        joined[name] = pd.Categorical(
            text.where(text.isna(), text.astype(str)), categories=_categories(parts)
        )
    return joined


def _categories(parts: Sequence[pd.Series]) -> list[str]:
    """The values that occur; those of a categorical column in its own order, others sorted."""
    seen: dict[str, None] = {}
    for part in parts:
        found = set(part.dropna().unique())
        order = part.cat.categories if hasattr(part, "cat") else sorted(found, key=str)
        seen.update((str(value), None) for value in order if value in found)
    return list(seen)


def join_coordinates(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Coordinates under one another; flat slices beside deep ones (n × 3) lie at z = 0."""
    width = max(part.shape[1] for part in parts)
    return np.concatenate([np.pad(p, ((0, 0), (0, width - p.shape[1]))) for p in parts])


def shared_genes(panels: Sequence[Sequence[str]]) -> np.ndarray:
    """Genes that all panels hold, by the names and in the order of the first."""
    common = np.asarray(panels[0], dtype=object)
    for panel in panels:
        common = common[shared(common, panel)[0]]
    return common


def shared_expression(slices: Sequence[ad.AnnData], genes: np.ndarray) -> sp.csr_matrix:
    """X of all slices under one another, restricted to `genes` (CSR float32)."""
    blocks = [sp.csr_matrix(s.X)[:, shared(genes, s.var_names)[1]] for s in slices]
    return sp.csr_matrix(sp.vstack(blocks), dtype=np.float32)


def genes_of(
    panels: Sequence[Sequence[str]], which: str = "union"
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Genes of all slices, and for each panel the place of its columns in them (-1: nowhere).

    which: `shared`, those that all panels hold, or `union`, those that any does; each by its name
    in the first panel that has it.
    """
    if which == "union":
        return union(panels)
    names, places = shared_genes(panels), []
    for panel in panels:
        places.append(np.full(len(panel), -1))
        known, own = shared(names, panel)
        places[-1][own] = known
    return names, places


def spread(matrix: sp.csr_matrix, place: np.ndarray, genes: int) -> sp.csr_matrix:
    """A slice's values (n × g) among so many genes (n × G float32): each column at its place."""
    place = place[matrix.indices]
    kept = place >= 0
    rows = np.concatenate([[0], np.cumsum(kept)])[matrix.indptr]
    found = sp.csr_matrix(
        (matrix.data[kept].astype(np.float32), place[kept].astype(np.int32), rows),
        shape=(matrix.shape[0], genes),
    )
    found.sort_indices()
    return found


def measured(
    genes: np.ndarray, places: Sequence[np.ndarray], panels: Sequence[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Whether a panel measures a gene (G × panels, bool), and panels whose slices differ in that.

    places: of `genes_of`, a slice each; panels: of each slice. A gene counts as measured by a panel
    where all of its slices have it.
    """
    found = pd.DataFrame(index=pd.Index(genes, dtype=object).astype(str))
    differ = dict.fromkeys(())
    for place, panel in zip(places, panels, strict=True):
        own = np.zeros(len(genes), dtype=bool)
        own[place[place >= 0]] = True
        if panel in found and not np.array_equal(found[panel], own):
            differ[panel] = None
            own &= found[panel].to_numpy()
        found[panel] = own
    return found, list(differ)


def neighbour_table(space: np.ndarray, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Each cell and its nearest others, k columns in all, the cell itself first (Euclidean).

    space: n × d. Returns indices (n × k, int64) and distances (n × k, float32); k is cut to n.
    """
    space = np.asarray(space, dtype=np.float32)
    return with_gaps(space, find_neighbours(space, k - 1, "euclidean", seed=seed).indices)


def with_gaps(space: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What `neighbour_table` gives, of the nearest others of each cell (n × k - 1)."""
    indices = np.column_stack([np.arange(len(space)), others])
    gaps = [np.linalg.norm(space - space[column], axis=1) for column in indices.T]
    return indices, np.column_stack(gaps)


def umap(space: np.ndarray, seed: int = 0) -> np.ndarray:
    """Two-dimensional UMAP of an embedding (n × d), n × 2 float32; one seed, one result.

    Started from the first two principal components, so that groups that lie far apart keep their
    places. One thread: more would leave the result to chance.
    """
    space = np.asarray(space, dtype=np.float32)
    if space.shape[1] == 1:
        space = np.pad(space, ((0, 0), (0, 1)))
    known = neighbour_table(space, UMAP_NEIGHBOURS, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that new cells cannot be added to given neighbours
        from umap import UMAP  # compiles code: only where it is needed

        model = UMAP(
            n_neighbors=known[0].shape[1],
            min_dist=0.3,
            init="pca",
            random_state=seed,
            n_jobs=1,
            precomputed_knn=known,
        )
        return model.fit_transform(space).astype(np.float32)


def umap_of_many(
    values: np.ndarray, slices: Sequence[str], most: int, seed: int = 0
) -> Iterator[np.ndarray]:
    """The UMAP of values (n × d, an array or a stored one) in blocks of rows (b × 2 float32).

    slices: of each cell. Of more than `most` cells, so many are fitted (`sketch.representatives`),
    and the others lie among them (`sketch.places`).
    """
    if len(values) <= most:
        yield umap(values[:], seed)
        return
    fitted = sketch.representatives(values, pd.factorize(slices)[0], most, seed)
    yield from sketch.places(values, fitted, umap(sketch.take(values, fitted), seed))
