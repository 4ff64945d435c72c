"""What every baseline is given and gives back: expression of the shared genes, an embedding.

By the column `embedding` of `baselines.csv` a method is given more, beside the folder: with `fp`
it starts from LLOKI-FP (`--embedding SAMPLE.fp.h5ad`, repeatable), with `reference` from whole
panels and the references (`--slice SAMPLE.slice.h5ad`, `--reference FILE`, repeatable).

A folder of plain files, so that a program in any language can be a baseline:

- `expression.mtx`: cells × shared genes, log-normalised as in the slices (Matrix Market);
- `counts.mtx`: the raw counts of the same cells and genes (absent where a slice has none);
- `cells.csv`: `cell`, `sample`, `technology`, `panel`, `batch` and coordinates `x`, `y` (and `z`,
  micrometres), a row for each row of the matrices;
- `genes.csv`: `gene`, a row for each column.

An embedding is a CSV: cell names first, then a column for each dimension, every cell once.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import anndata as ad
import click
import numpy as np
import pandas as pd
import scipy.io
import scipy.sparse as sp

from lloki.integration import joined
from lloki.integration.joined import BASELINE, NAMES
from lloki.slices import files, samples
from lloki.slices.checks import check_matrix
from lloki.support.cli import Run, command, seed_option
from lloki.support.errors import InputError
from lloki.support.neighbours import unit_rows

COLUMNS = ("cell", "sample", "technology", "panel", "batch", "x", "y")
TABLE = Path(__file__).with_name("baselines.csv")


@dataclass(frozen=True)
class Shared:
    """All cells on the genes that all slices share: n cells, g genes.

    expression: n × g CSR float32, log-normalised; counts: the same of whole numbers, or None;
    cells: n rows, see the module; genes: g names. For methods that start from them, embedding:
    LLOKI-FP (n × d float32, rows of length 1); panels: the slices with all their genes, in the
    order of the cells; references: as the pipeline has them. X of both is log-normalised CSR.
    """

    expression: sp.csr_matrix
    counts: sp.csr_matrix | None
    cells: pd.DataFrame
    genes: list[str]
    embedding: np.ndarray | None = None
    panels: Sequence[ad.AnnData] = ()
    references: Sequence[ad.AnnData] = ()

    @classmethod
    def of(cls, slices: Sequence[ad.AnnData]) -> Shared:
        """From prepared slices, as prepare_slice.py writes them; InputError on faulty counts.

        A batch is a technology with its panel.
        """
        genes = joined.shared_genes([part.var_names for part in slices])
        columns = ["sample", "technology", "panel"]
        cells = joined.join_obs([part.obs[columns] for part in slices])
        cells = cells.astype(str).rename_axis("cell").reset_index()
        cells["batch"] = cells["technology"] + " " + cells["panel"]
        places = joined.join_coordinates([part.obsm["spatial"] for part in slices])
        cells[["x", "y", "z"][: places.shape[1]]] = places
        counts = None
        if all("counts" in part.layers for part in slices):
            raw = [
                ad.AnnData(check_matrix(part.layers["counts"], "layers['counts']"), var=part.var)
                for part in slices
            ]
            counts = joined.shared_expression(raw, genes)
        expression = joined.shared_expression(slices, genes)
        return cls(expression, counts, cells, [str(gene) for gene in genes])

    @property
    def filled(self) -> np.ndarray:
        """Which cells have a value in any shared gene (n, bool)."""
        return np.diff(self.expression.indptr) > 0

    @property
    def batches(self) -> np.ndarray:
        """The batch of each cell (n, text)."""
        return self.cells["batch"].to_numpy(str)

    @property
    def places(self) -> np.ndarray:
        """Coordinates in micrometres (n × 2 or 3)."""
        return self.cells[[c for c in "xyz" if c in self.cells]].to_numpy(np.float64)

    def with_embedding(self, paths: Sequence[str]) -> Shared:
        """The same with LLOKI-FP of all slices, read from their files in any order.

        InputError where there is none, a cell is in no file or in two, or models differ.
        """
        if not paths:
            fact = "this method starts from LLOKI-FP"
            raise InputError("--embedding", fact, "give SAMPLE.fp.h5ad of every slice")
        cells, space = stack(paths, "X_lloki_fp", "--embedding")
        order = cells.get_indexer(self.cells["cell"])
        if (order < 0).any():
            name = self.cells["cell"][int(np.argmin(order))]
            raise InputError("--embedding", f"cell {name!r} is missing", "give every slice's file")
        return replace(self, embedding=unit_rows(space[order]))

    def with_panels(self, slices: Sequence[str], references: Sequence[str]) -> Shared:
        """The same with the slices and references of these files, in any order.

        InputError where there are none, or the slices are not those of the cells.
        """
        for paths, option in ((slices, "--slice"), (references, "--reference")):
            if not paths:
                raise InputError(option, "this method starts from whole panels", "give all files")
        found = samples.by_sample(slices, files.read_expression)
        names = list(dict.fromkeys(self.cells["sample"]))
        panels = [found[name] for name in names if name in found]
        cells = np.concatenate([part.obs_names for part in panels]) if panels else []
        if len(found) != len(names) or list(cells) != list(self.cells["cell"]):
            raise InputError("--slice", "other cells than in --input", "give every slice's file")
        return replace(
            self, panels=panels, references=[files.read_reference(r) for r in references]
        )

    def of_whole_counts(self) -> sp.csr_matrix:
        """The counts; InputError where a slice came without them."""
        if self.counts is None:
            fact = "there are no raw counts: a slice was given as normalised already"
            raise InputError("counts.mtx", fact, "leave this method out")
        return self.counts


def write(shared: Shared, folder: Path) -> None:
    """Write the files of the contract into an empty folder."""
    scipy.io.mmwrite(folder / "expression.mtx", shared.expression, precision=7)
    if shared.counts is not None:
        scipy.io.mmwrite(folder / "counts.mtx", shared.counts.astype(np.int64))
    shared.cells.to_csv(folder / "cells.csv", index=False)
    pd.DataFrame({"gene": shared.genes}).to_csv(folder / "genes.csv", index=False)


def read(folder: str | Path) -> Shared:
    """Read a folder of the contract; InputError if something is missing or does not fit."""
    folder = Path(folder)
    for name in ("expression.mtx", "cells.csv", "genes.csv"):
        if not (folder / name).is_file():
            raise InputError(folder / name, "no such file", "make the folder with join_shared.py")
    cells = pd.read_csv(
        folder / "cells.csv", dtype=dict.fromkeys(COLUMNS[:5], str), keep_default_na=False
    )
    genes = pd.read_csv(folder / "genes.csv", dtype=str, keep_default_na=False)["gene"].tolist()
    lacking = [name for name in COLUMNS if name not in cells]
    if lacking:
        raise InputError(folder / "cells.csv", f"it has no column {lacking[0]!r}", "make it again")
    matrices = {}
    for name in ("expression", "counts"):
        path = folder / f"{name}.mtx"
        if not path.is_file():
            continue
        matrices[name] = sp.csr_matrix(scipy.io.mmread(path, spmatrix=False), dtype=np.float32)
        if matrices[name].shape != (len(cells), len(genes)):
            fact = f"it is {matrices[name].shape}, not {len(cells)} cells × {len(genes)} genes"
            raise InputError(path, fact, "make the folder again")
    return Shared(matrices["expression"], matrices.get("counts"), cells, genes)


def stack(paths: Sequence[str], key: str, option: str) -> tuple[pd.Index, np.ndarray]:
    """Names of the cells of many files, and their obsm[key] (n × d).

    InputError, at this option of a command line, where a cell is in two files or they differ in d.
    """
    parts = [files.read_embedding(path, key) for path in paths]
    cells = pd.Index(np.concatenate([part.obs_names for part in parts]))
    if not cells.is_unique:
        name = cells[cells.duplicated()][0]
        raise InputError(option, f"cell {name!r} is in two files", "give each slice once")
    widths = {part.obsm[key].shape[1] for part in parts}
    if len(widths) > 1:
        fact = f"obsm[{key!r}] has {' or '.join(map(str, sorted(widths)))} columns"
        raise InputError(option, fact, "give embeddings of one model")
    return cells, np.concatenate([part.obsm[key] for part in parts])


def write_embedding(cells: pd.Series, space: np.ndarray, path: Path) -> None:
    """Write an embedding (n × d) as the contract has it."""
    table = pd.DataFrame(space, index=pd.Index(cells, name="cell"))
    table.columns = [f"dim_{i + 1}" for i in range(table.shape[1])]
    table.to_csv(path, float_format="%.6g")


def read_embedding(path: str | Path, cells: pd.Index) -> np.ndarray:
    """Read an embedding for these cells, in their order (n × d float32).

    InputError if a cell is missing, there twice, or has no finite value.
    """
    if not Path(path).is_file():
        raise InputError(path, "no such file", "check the path")
    try:
        table = pd.read_csv(path, index_col=0, dtype={0: str})
        values = table.to_numpy(np.float32)
    except ValueError as error:
        fact = f"not a table of numbers ({type(error).__name__})"
        raise InputError(path, fact, "cell names come first, then a column a dimension") from None
    table.index = table.index.astype(str)
    if not table.index.is_unique:
        name = table.index[table.index.duplicated()][0]
        raise InputError(path, f"cell {name!r} is there twice", "give each cell once")
    order = table.index.get_indexer(cells)
    if (order < 0).any():
        name = cells[int(np.argmin(order))]
        raise InputError(path, f"cell {name!r} is missing", "embed every cell of every slice")
    if not values.shape[1] or not np.isfinite(values[order]).all():
        raise InputError(path, "it has NaN, infinite or no values", "make it again")
    return values[order]


def baseline(name: str, *packages: str) -> Callable:
    """Make `f(shared, seed) -> n × d array` the command of a baseline.

    name: in baselines.csv, whose column `embedding` says what it starts from. packages: what it
    imports beyond this project; one that is not installed is told in one line, as is an embedding
    of the wrong shape or with NaN.
    """

    def decorate(function: Callable) -> click.Command:
        @command("baseline", help=function.__doc__)
        @click.option("--input", required=True, help="Folder that join_shared.py wrote.")
        @click.option("--embedding", multiple=True, help="SAMPLE.fp.h5ad of every slice, for a "
                      "method that starts from LLOKI-FP; repeatable.")  # fmt: skip
        @click.option("--slice", multiple=True, help="SAMPLE.slice.h5ad of every slice, for a "
                      "method that starts from whole panels; repeatable.")  # fmt: skip
        @click.option("--reference", multiple=True, help="scRNA-seq h5ad for such a method; "
                      "repeatable.")  # fmt: skip
        @click.option("--output", required=True, help="The CSV to write: METHOD.embedding.csv.")
        @seed_option
        @functools.wraps(function)
        def run_baseline(run: Run, input, embedding, slice, reference, output, seed) -> None:
            _check_installed(packages)
            shared = read(input)
            if starts_from(name) == "fp":
                shared = shared.with_embedding(embedding)
            elif starts_from(name) == "reference":
                shared = shared.with_panels(slice, reference)
            elif not shared.genes:
                fact = "no gene is in every slice"
                raise InputError(input, fact, "this method needs shared genes")
            space = np.asarray(function(shared, seed), dtype=np.float32)
            if space.ndim != 2 or len(space) != len(shared.cells) or not np.isfinite(space).all():
                fact = f"it gave {space.shape} for {len(shared.cells)} cells, or values not finite"
                raise InputError(name, fact, "this is a fault of the method on these data")
            run.report(
                method=name, cells=len(space), dimensions=space.shape[1], genes=len(shared.genes),
                cells_without_shared_genes=int((~shared.filled).sum()), device="cpu",
            )  # fmt: skip
            with run.output(output) as temporary:
                write_embedding(shared.cells["cell"], space, temporary)

        return run_baseline

    return decorate


def _check_installed(packages: tuple[str, ...]) -> None:
    """InputError if a package is missing."""
    for package in packages:
        try:
            metadata.version(package)
        except metadata.PackageNotFoundError:
            remedy = "use containers, or `make baselines`"
            raise InputError(package, "the package is not installed here", remedy) from None


def key(method: str) -> str:
    """The obsm key of a method's embedding."""
    return BASELINE if method == "pca" else f"X_{method}"


@functools.cache
def methods() -> pd.DataFrame:
    """The table of methods (baselines.csv), by name.

    title; program in bin and the environment (image) that it runs in, or what it is part of
    (integrate, embedder, ablation); the embedding that it is or starts from (fp: of LLOKI-FP,
    slice: of slices as they came, filled: of LLOKI-FP without targets; reference: it starts from
    whole panels and references; none: from the shared genes); of an ablation more options of the
    training; source to cite.
    """
    return pd.read_csv(TABLE, index_col="method", keep_default_na=False)


def starts_from(method: str) -> str:
    """What a method starts from: fp (LLOKI-FP), reference (and whole panels), else shared genes."""
    return methods()["embedding"].get(method, "")


def title(embedding: str) -> str:
    """What an embedding (obsm key) is called in tables and pictures."""
    if embedding in NAMES:
        return NAMES[embedding]
    method = embedding.removeprefix("X_")
    return str(methods()["title"].get(method, method))


def fill(shared: Shared, space: np.ndarray) -> np.ndarray:
    """An embedding of the filled cells (m × d) as one of all cells: the others lie at the mean.

    For methods that cannot take a cell without any value.
    """
    whole = np.repeat(np.mean(space, axis=0, keepdims=True), len(shared.cells), axis=0)
    whole[shared.filled] = space
    return whole


def threads() -> int:
    """Threads that a baseline may use (OMP_NUM_THREADS, else 1)."""
    wanted = os.environ.get("OMP_NUM_THREADS", "1").split(",")[0]
    return int(wanted) if wanted.isdigit() and int(wanted) > 0 else 1
