#!/usr/bin/env python3
"""What a GPU gives: every step that can use one, on the CPU and on it, and whether both agree.

Made-up inputs: tiles of the demo's STARmap slice, thinned as in propagation.py; embeddings as in
cae.py; random cells for a random scGPT of the official size. The steps run in one process, without
reading and writing, after a small one that loads the GPU's libraries. `~`: reckoned from a part, on
the CPU that of --part, of training an epoch of 20. The agreement is between the two on that part.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import click
import numpy as np
import scipy.sparse as sp
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bin"), str(ROOT / "tests"), str(Path(__file__).parent)]

from cae import drawn, synthetic, views_of  # noqa: E402
from support.tiled import tiled  # noqa: E402

from lloki.embedding.scgpt import pretrain, training_set  # noqa: E402
from lloki.embedding.scgpt.checkpoint import read_checkpoint  # noqa: E402
from lloki.embedding.scgpt.encoder import Encoder, embed  # noqa: E402
from lloki.embedding.scgpt.model import Architecture, Model  # noqa: E402
from lloki.integration import cae, pairs, training  # noqa: E402
from lloki.integration.training_set import Cells  # noqa: E402
from lloki.programs.descent import descend  # noqa: E402
from lloki.propagation import graph, propagation  # noqa: E402
from lloki.support.neighbours import nearest  # noqa: E402

CPU, GPU = torch.device("cpu"), torch.device("cuda")
STAGES = "propagation", "scgpt", "cae", "pretraining", "metagenes"


@click.command()
@click.option("--size", "sizes", multiple=True, help="CELLSxGENES of propagation; repeatable.  "
              "[default: 50000x1000, 200000x500]")  # fmt: skip
@click.option("--embedded", default=50_000, show_default=True, help="Cells for scGPT.")
@click.option("--trained", default=200_000, show_default=True, help="Cells for the autoencoder.")
@click.option("--part", default=1.0, show_default=True, help="Of what the CPU does by default.")
@click.option("--layers", default=12, show_default=True, help="Of scGPT.")
@click.option("--stage", "stages", multiple=True, type=click.Choice(STAGES), default=STAGES)
def main(sizes, embedded, trained, part, layers, stages) -> None:
    """Print a Markdown table: seconds on both devices, peak memory of the GPU, agreement."""
    if not torch.cuda.is_available():
        print("PyTorch sees no GPU here: nothing to compare.")
        return
    name, threads = torch.cuda.get_device_name(), torch.get_num_threads()
    print(f"{name}, PyTorch {torch.__version__}, {threads} threads\n")
    print("| step | size | CPU s | GPU s | ratio | peak GB | agreement |\n" + "|---" * 7 + "|")
    random = np.random.default_rng(0)
    warm = random.normal(size=(5000, 50)).astype(np.float32)
    nearest(warm, warm, 9, gpu=GPU)
    if "propagation" in stages:
        for size in sizes or ("50000x1000", "200000x500"):
            of_propagation(*map(int, size.split("x")), part)
    if "scgpt" in stages:
        of_scgpt(random, embedded, 250, int(400 * part), layers)
    if "cae" in stages:
        of_cae(random, trained, part)
    if "pretraining" in stages:
        of_pretraining(random, int(60 * part))
    if "metagenes" in stages:
        of_metagenes(random, trained, part)


def of_propagation(cells: int, genes: int, part: float) -> None:
    """The search for 40 neighbours on 50 components, Eq. 2 to targets, Eq. 5."""
    data = tiled(ad.read_h5ad(ROOT / "assets/demo/starmap.h5ad"), cells, genes, 0.3)
    values, places = sp.csr_matrix(np.log1p(data.X)), data.obsm["spatial"]
    space, size = graph.principal_components(values, 50), f"{cells:,} × {genes:,}"
    some = np.arange(min(cells, int(20_000 * part)))
    here, cpu = timed(lambda: nearest(space[some], space, 40, exclude=some), CPU)
    there, gpu = timed(lambda: nearest(space, space, 40, exclude=np.arange(cells), gpu=GPU), GPU)
    row("neighbours", size, cpu, cells / len(some), gpu, 1,
        f"{same_neighbours(here[0], there[0][some]):.5f} of the neighbours")  # fmt: skip
    weights = graph.spatial_graph(there[0], places, graph.mean_pair_distance(places))
    limits = np.maximum(np.diff(values.indptr), int(0.25 * genes))
    first, cpu = timed(lambda: propagation.impute(values, weights, limits), CPU)
    second, gpu = timed(lambda: propagation.impute(values, weights, limits, gpu=GPU), GPU)
    row("imputation", size, cpu, 1, gpu, 1, matrices(first.matrix, second.matrix))
    full = first.matrix
    first, cpu = timed(lambda: propagation.denoise(values, full, weights), CPU)
    second, gpu = timed(lambda: propagation.denoise(values, full, weights, gpu=GPU), GPU)
    row("denoising", size, cpu, 1, gpu, 1, matrices(first, second))


def of_scgpt(random: np.random.Generator, cells: int, genes: int, some: int, layers: int) -> None:
    """Embedding by a model of the official size; cells express a tenth to all of the genes."""
    from scgpt_checkpoint import write_checkpoint

    matrix = random.random((cells, genes), dtype=np.float32) + 1
    matrix *= random.random(matrix.shape) < np.linspace(0.1, 1, cells)[:, None]
    matrix[:, 0] = 1
    matrix, symbols = sp.csr_matrix(random.permutation(matrix)), [f"G{i}" for i in range(60_694)]
    names = [f"c{i}" for i in range(cells)]
    with tempfile.TemporaryDirectory() as folder:
        path = write_checkpoint(Path(folder) / "m", symbols, layers=layers, d=512, heads=8)
        checkpoint = read_checkpoint(path)
    vectors = {}

    def run(device: torch.device, dtype: torch.dtype, rows: int) -> np.ndarray:
        encoder = Encoder(checkpoint, symbols[:genes], device, dtype)
        found = np.empty((rows, 512), dtype=np.float32)
        for place, values in embed(encoder, matrix[:rows], names[:rows]):
            found[place] = values
        return found

    here, cpu = timed(lambda: run(CPU, torch.float32, some), CPU)
    share = matrix[:some].nnz / matrix.nnz
    for name in ("float32", "bfloat16", "float16"):
        dtype = getattr(torch, name)
        run(GPU, dtype, some)
        vectors, gpu = timed(lambda dtype=dtype: run(GPU, dtype, cells), GPU)
        difference = np.abs(vectors[:some] - here).max()
        cosine = (vectors[:some] * here).sum(axis=1).min()
        row(f"scGPT, {name}", f"{cells:,} × {genes}", cpu, 1 / share, gpu, 1,
            f"≤ {difference:.1e}, cosine ≥ {cosine:.5f}")  # fmt: skip


def of_cae(random: np.random.Generator, cells: int, part: float) -> None:
    """Neighbours and pairs of four slices, 20 epochs of training, inference; 512 numbers a cell."""
    of_slice = np.repeat(np.arange(4), [len(p) for p in np.array_split(range(cells), 4)])
    with tempfile.TemporaryFile() as file:
        embedding, types = synthetic(random, of_slice, 512, file)
        searched(embedding, of_slice, part)
        near, found, _ = drawn(random, embedding, of_slice, types)
        some = random.permutation(cells)[: int(40_000 * part)]

        def train(device: torch.device, anchors: np.ndarray | None, epochs: int = 1):
            torch.manual_seed(0)
            model = cae.ConditionalAutoencoder(cae.Architecture(512, 128, 10, 4))
            settings = training.Training(1, 10, 100, 5e-4, 1e-4, 2000, epochs, 1, 0)
            of = Cells(embedding, of_slice, of_slice, near, anchors=anchors)
            trainer = training.Trainer(of, found, model, settings, device)
            for _ in range(epochs):
                trainer.epoch()
            return trainer

        train(GPU, some[:2000])
        here, cpu = timed(lambda: train(CPU, some), CPU)
        one, other = (t.history[0]["total"] for t in (here, train(GPU, some)))
        trained, gpu = timed(lambda: train(GPU, None), GPU)
        row("training", f"{cells:,} × 512", cpu, 20 * cells / len(some), gpu, 20,
            f"losses within {abs(one - other) / one:.1e}")  # fmt: skip
        whole, model = np.array(embedding), trained.model
        here, cpu = timed(lambda: cae.encode(model, whole, of_slice, CPU), CPU)
        there, gpu = timed(lambda: cae.encode(model, whole, of_slice, GPU), GPU)
        row("inference", f"{cells:,} × 512", cpu, 1, gpu, 1, f"≤ {np.abs(here - there).max():.1e}")


def searched(embedding: np.ndarray, of_slice: np.ndarray, part: float) -> None:
    """What a training searches: neighbours within slices, pairs between them."""
    share = max(1, int(1 / part))
    space = pairs.search_space(embedding[::share], pairs.search_axes(embedding[::share]))

    def find(space: np.ndarray, of_slice: np.ndarray, gpu: torch.device | None):
        near = pairs.own_neighbors(space, of_slice, 30, gpu=gpu)
        views = views_of(space, of_slice, near)
        return near, pairs.find_partners(views, range(len(views)), 40, gpu)

    few = of_slice[::share] < 2
    (near, here), cpu = timed(lambda: find(space[few], of_slice[::share][few], None), CPU)
    (other, there), _ = timed(lambda: find(space[few], of_slice[::share][few], GPU), GPU)
    _, gpu = timed(lambda: find(space, of_slice[::share], GPU), GPU)
    shared = len(np.intersect1d(*(p.table() @ [len(space), 1] for p in (here, there))))
    row("neighbours and pairs", f"{len(space):,} × 512", cpu, 4, gpu, 1,
        f"{same_neighbours(near, other):.5f} of the neighbours, "
        f"{shared / len(here.cells):.5f} of the pairs")  # fmt: skip


def of_pretraining(random: np.random.Generator, steps: int) -> None:
    """4,000 steps of pretrain_scgpt.py's own model on 20,000 cells of 500 genes."""
    matrix = sp.random_array((20_000, 500), density=0.4, format="csr", rng=random, dtype=np.float32)
    factors = random.normal(size=(20_000, 32)).astype(np.float32)
    cells = training_set.Cells(sp.csr_matrix(matrix), np.array([12_000, 8_000]), factors)
    told = dict(lr=2e-3, warmup=100, mask_ratio=0.15, genes_kept=(0.5, 1), max_length=256,
                weight_state=1, weight_similarity=1, weight_masked=0, weight_mvc=0,
                weight_agreement=0, seed=0, batch_size=64, steps=4000)  # fmt: skip

    def run(device: torch.device, steps: int) -> float:
        torch.manual_seed(0)
        model = Model(Architecture(128, 3, 4, 256, 0.0), 500, 32)
        trainer = pretrain.Trainer(cells, model, pretrain.Training(**told), device)
        return [trainer.step()["total"] for _ in range(steps)][-1]

    one, cpu = timed(lambda: run(CPU, steps), CPU)
    run(GPU, steps)
    other, gpu = timed(lambda: run(GPU, steps), GPU)
    row("pretraining of scGPT", "64 a step", cpu, 4000 / steps, gpu, 4000 / steps,
        f"losses within {abs(one - other) / one:.1e}")  # fmt: skip


def of_metagenes(random: np.random.Generator, cells: int, part: float) -> None:
    """One descent of 15 metagenes, 40 sweeps at most, of planted mixtures of 128 dimensions."""
    loads = random.dirichlet(np.full(128, 0.3), 15).T
    values = random.gamma(0.3, size=(cells, 15)).astype(np.float32)
    target = (values @ (loads.T @ loads) + random.normal(0, 0.01, values.shape)).T
    given = [np.full_like(values.T, 0.1), target.astype(np.float32),
             (loads.T @ loads).astype(np.float32), np.full(cells, 0.01, np.float32)]  # fmt: skip
    some = int(cells * part)
    few = [np.ascontiguousarray(a[..., :some]) if i != 2 else a for i, a in enumerate(given)]
    here, cpu = timed(lambda: descend(*few, 40), CPU)
    there, gpu = timed(lambda: descend(*given, 40, GPU), GPU)
    row("metagenes' descent", f"{cells:,} × 15", cpu, cells / some, gpu, 1,
        f"≤ {np.abs(here - there[:, :some]).max():.1e}")  # fmt: skip


def timed(function: Callable, device: torch.device) -> tuple[object, tuple[float, float]]:
    """What a function returns; its wall seconds and the largest GB that it held on a GPU."""
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    found = function()
    if cuda:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    return found, (seconds, torch.cuda.max_memory_allocated() / 1e9 if cuda else 0.0)


def row(step: str, size: str, cpu: tuple, cpu_times: float, gpu: tuple, gpu_times: float, said):
    """A line of the table; seconds are multiplied by so many times."""
    slow, fast = cpu[0] * cpu_times, gpu[0] * gpu_times
    told = [f"{'~ ' if times != 1 else ''}{seconds:.{1 if seconds >= 1 else 2}f}"
            for seconds, times in ((slow, cpu_times), (fast, gpu_times))]  # fmt: skip
    print(f"| {step} | {size} | {' | '.join(told)} | {slow / fast:.1f} | {gpu[1]:.2f} | {said} |",
          flush=True)  # fmt: skip


def same_neighbours(one: np.ndarray, other: np.ndarray) -> float:
    """Share of the neighbours (n × k) that are in the other's row too."""
    found = [(np.arange(len(t))[:, None] * (1 << 32) + t).ravel() for t in (one, other)]
    return len(np.intersect1d(*found)) / one.size


def matrices(one: sp.csr_matrix, other: sp.csr_matrix) -> str:
    """Entries that only one of two matrices holds, and the largest difference of the rest."""
    apart = ((one != 0) != (other != 0)).nnz
    both = (one != 0).multiply(other != 0)
    return f"{apart:,} of {one.nnz:,} entries; ≤ {abs((one - other).multiply(both)).max():.1e}"


if __name__ == "__main__":
    main()
