#!/usr/bin/env python3
"""Time and memory of LLOKI-CAE: neighbours and pairs, training, inference, one process a size.

Embeddings are synthetic: 20 types, each with its own direction, in slices of as many batches, each
of which adds a direction of its own; 64 of the axes hold nearly all variance. Training is timed
over some steps; `epoch` is what one pass over all cells takes at that pace, `training` what
`--epochs auto` takes. With `--search none`, neighbours and partners (as many)
are drawn at random within types, which shows training alone; with `part` they are searched in one
slice and between two, and the seconds are those times the number of slices and of pairs of slices.
"""

import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bin"))

TYPES, RANK, PAIRS = 20, 64, 100  # partners drawn for a cell, as many as are found


@click.command()
@click.option("--cells", "sizes", multiple=True, type=int, help="Repeatable. [default: 20000]")
@click.option("--dim", default=512, show_default=True)
@click.option("--slices", default=5, show_default=True, help="Each is a batch of its own.")
@click.option("--steps", default=20, show_default=True, help="Steps of training that are timed.")
@click.option("--search", type=click.Choice(["all", "part", "none"]), default="all",
              show_default=True)  # fmt: skip
def main(sizes, dim, slices, steps, search) -> None:
    """Print a row of figures for each number of cells."""
    head = ("cells", "neighbours s", "cpu s", "pairs s", "cpu s", "pairs", "peak GB", "step s",
            "cpu s", "epoch s", "training s", "peak GB", "inference s", "cpu s")  # fmt: skip
    print("".join(f"{name:>13}" for name in head), flush=True)
    for n in sizes or (20_000,):
        process = multiprocessing.get_context("spawn").Process(
            target=measure, args=(n, dim, slices, steps, search)
        )
        process.start()
        process.join()


def measure(n: int, dim: int, slices: int, steps: int, search: str) -> None:
    """One row, in a process of its own so that its peak memory is its own."""
    from lloki.support.cli import peak_memory_mb

    random = np.random.default_rng(0)
    of_slice = np.repeat(np.arange(slices), [len(p) for p in np.array_split(range(n), slices)])
    with tempfile.TemporaryFile() as file:
        embedding, types = synthetic(random, of_slice, dim, file)
        find = {"all": searched, "part": partly, "none": drawn}[search]
        near, found, seconds = find(random, embedding, of_slice, types)
        row = [*(f"{s:.1f}" for s in seconds), len(found.cells) // 2]
        row.append(f"{peak_memory_mb() / 1e3:.2f}")
        row += trained(embedding, of_slice, near, found, steps)
    print(f"{n:>13}" + "".join(f"{value:>13}" for value in row), flush=True)


def searched(_random, embedding, of_slice: np.ndarray, _types):
    """Neighbours and pairs as train_cae.py finds them without --slice; seconds, wall and CPU."""
    from lloki.integration import pairs

    clock = [(time.perf_counter(), time.process_time())]
    space = pairs.search_space(embedding, pairs.search_axes(embedding))
    near = pairs.own_neighbors(space, of_slice, 30)
    clock.append((time.perf_counter(), time.process_time()))
    views = views_of(space, of_slice, near)
    del space
    found = pairs.find_partners(views, range(len(views)), 40)
    clock.append((time.perf_counter(), time.process_time()))
    return near, found, np.diff(clock, axis=0).ravel()


def partly(random: np.random.Generator, embedding, of_slice: np.ndarray, types: np.ndarray):
    """As `searched`, in the first slice and between the first two; the rest is drawn."""
    from lloki.integration import pairs

    near, found, _ = drawn(random, embedding, of_slice, types)
    slices, rows = of_slice[-1] + 1, np.flatnonzero(of_slice == 0)
    space = pairs.search_space(embedding, pairs.search_axes(embedding))
    clock = [(time.perf_counter(), time.process_time())]
    near[rows] = pairs.own_neighbors(space[rows], of_slice[rows], 30)
    clock.append((time.perf_counter(), time.process_time()))
    views = views_of(space, of_slice, near)
    del space
    pairs.find_partners(views[:2], range(2), 40)
    clock.append((time.perf_counter(), time.process_time()))
    times = [[slices], [slices * (slices - 1) / 2]]
    return near, found, (np.diff(clock, axis=0) * times).ravel()


def views_of(space: np.ndarray, of_slice: np.ndarray, near: np.ndarray) -> list:
    """What pairs of each slice are found in."""
    from lloki.integration import pairs

    slices = [np.flatnonzero(of_slice == s) for s in range(of_slice[-1] + 1)]
    return [pairs.view(space[rows], rows, near[rows] - rows[0]) for rows in slices]


def trained(embedding, of_slice: np.ndarray, near, found, steps: int) -> list[str]:
    """Figures of some steps of training, and of inference on blocks read beforehand."""
    import torch

    from lloki.integration.cae import Architecture, ConditionalAutoencoder, encode
    from lloki.integration.training import Trainer, Training, steps_per_epoch
    from lloki.integration.training_set import Cells
    from lloki.support.cli import peak_memory_mb
    from lloki.support.storage import blocks

    n, cpu = len(embedding), torch.device("cpu")
    settings = Training(1, 10, 100, 5e-4, 1e-4, 2000, 1, 1, 0)
    torch.manual_seed(0)
    model = ConditionalAutoencoder(Architecture(embedding.shape[1], 128, 10, of_slice[-1] + 1))
    trainer = Trainer(Cells(embedding, of_slice, of_slice, near), found, model, settings, cpu)
    chunks = trainer._chunks()[: steps + 1]
    trainer._chunks = lambda: chunks[:1]
    trainer.epoch()
    trainer._chunks = lambda: chunks[1:]
    start, start_cpu = time.perf_counter(), time.process_time()
    trainer.epoch()
    step = (time.perf_counter() - start) / len(chunks[1:])
    step_cpu = (time.process_time() - start_cpu) / len(chunks[1:])
    an_epoch, peak = steps_per_epoch(n, settings.chunk_size), peak_memory_mb() / 1e3
    inference = np.zeros(2)
    for rows, block in blocks(embedding):
        start = time.perf_counter(), time.process_time()
        encode(model, block, of_slice[rows], cpu)
        inference += time.perf_counter() - start[0], time.process_time() - start[1]
    return [f"{step:.3f}", f"{step_cpu:.3f}", f"{step * an_epoch:.1f}",
            f"{step * max(600, 20 * an_epoch):.0f}", f"{peak:.2f}",
            *(f"{seconds:.2f}" for seconds in inference)]  # fmt: skip


def synthetic(random: np.random.Generator, of_slice: np.ndarray, dim: int, file):
    """Embeddings of unit length as a memory map of a file, and every cell's type."""
    from lloki.support.neighbours import unit_rows

    n, types = len(of_slice), random.integers(0, TYPES, len(of_slice))
    centres, shifts = random.normal(size=(TYPES, dim)), random.normal(size=(of_slice[-1] + 1, dim))
    axes = random.normal(size=(RANK, dim)) * np.linspace(1, 0.1, RANK)[:, None] * 0.5
    for first in range(0, n, 8192):
        rows = slice(first, min(first + 8192, n))
        values = centres[types[rows]] + shifts[of_slice[rows]]
        values += random.normal(size=(len(values), RANK)) @ axes
        values += 0.05 * random.normal(size=values.shape)
        unit_rows(values).tofile(file)
    file.flush()
    return np.memmap(file, np.float32, "r", shape=(n, dim)), types


def drawn(random: np.random.Generator, _embedding, of_slice: np.ndarray, types: np.ndarray):
    """Neighbours of the own slice and partners of the others, at random within types."""
    from lloki.integration.pairs import Partners

    near = np.empty((len(types), 30), dtype=np.int32)
    partners = np.empty((len(types), PAIRS), dtype=np.int32)
    for kind in range(TYPES):
        for s in range(of_slice[-1] + 1):
            here = np.flatnonzero((types == kind) & (of_slice == s))
            there = np.flatnonzero((types == kind) & (of_slice != s))
            near[here] = random.choice(here, size=(len(here), 30))
            partners[here] = random.choice(there, size=(len(here), PAIRS))
    first = np.arange(len(types) + 1) * PAIRS
    return near, Partners(first, partners.ravel()), (0, 0, 0, 0)


if __name__ == "__main__":
    main()
