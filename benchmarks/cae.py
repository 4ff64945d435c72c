#!/usr/bin/env python3
"""Time and memory of LLOKI-CAE: neighbours and pairs, training, inference, one process a size.

Embeddings are synthetic: 20 types, each with its own direction, in slices of as many batches, each
of which adds a direction of its own; 64 of the axes hold nearly all variance. Training is timed
over some steps; `epoch` is what one pass over all cells takes at that pace, `training` what
`--epochs auto` takes. With --no-search, neighbours and pairs are drawn at random within types.
"""

import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bin"))

TYPES, RANK, PAIRS = 20, 64, 10


@click.command()
@click.option("--cells", "sizes", multiple=True, type=int, help="Repeatable. [default: 20000]")
@click.option("--dim", default=512, show_default=True)
@click.option("--slices", default=5, show_default=True, help="Each is a batch of its own.")
@click.option("--steps", default=20, show_default=True, help="Steps of training that are timed.")
@click.option("--search/--no-search", default=True, show_default=True)
def main(sizes, dim, slices, steps, search) -> None:
    """Print a row of figures for each number of cells."""
    head = ("cells", "search s", "cpu s", "pairs", "step s", "cpu s", "epoch s", "training s",
            "inference s", "peak GB")  # fmt: skip
    print("".join(f"{name:>12}" for name in head), flush=True)
    for n in sizes or (20_000,):
        process = multiprocessing.get_context("spawn").Process(
            target=measure, args=(n, dim, slices, steps, search)
        )
        process.start()
        process.join()


def measure(n: int, dim: int, slices: int, steps: int, search: bool) -> None:
    """One row, in a process of its own so that its peak memory is its own."""
    import torch

    from lloki.cae import Architecture, ConditionalAutoencoder, encode
    from lloki.cells import gather
    from lloki.cli import peak_memory_mb
    from lloki.training import Trainer, Training, steps_per_epoch

    random = np.random.default_rng(0)
    counts = [len(part) for part in np.array_split(np.arange(n), slices)]
    with tempfile.TemporaryDirectory() as folder:
        embedding, types = synthetic(random, counts, dim, folder)
        start, cpu = time.perf_counter(), time.process_time()
        if search:
            cells, positives = gather(
                embedding, counts, range(slices), [None] * slices, None,
                neighbors=30, smoothing=30, pair_neighbors=40, folder=folder,
            )  # fmt: skip
        else:
            cells, positives = drawn(random, embedding, counts, types)
        searched, searched_cpu = time.perf_counter() - start, time.process_time() - cpu
        training = Training(1, 10, 100, 5e-4, 1e-4, 2000, 1, 1, 4, 0)
        torch.manual_seed(0)
        model = ConditionalAutoencoder(Architecture(dim, 128, 10, slices))
        trainer = Trainer(cells, positives, model, training, torch.device("cpu"))
        chunks = trainer._chunks()[: steps + 2]
        for chunk in chunks[:2]:
            trainer._step(chunk)
        start, cpu = time.perf_counter(), time.process_time()
        for chunk in chunks[2:]:
            trainer._step(chunk)
        timed = max(1, len(chunks) - 2)
        step, step_cpu = (
            (now - then) / timed
            for now, then in ((time.perf_counter(), start), (time.process_time(), cpu))
        )
        an_epoch = steps_per_epoch(n, training.chunk_size)
        peak = peak_memory_mb()
        start, seconds = 0, 0.0
        while start < n:  # the embedding is read before the clock starts
            block = embedding[slice(start, start + 65536)]
            begin = time.perf_counter()
            encode(model, block, cells.batch[start : start + len(block)], torch.device("cpu"))
            seconds += time.perf_counter() - begin
            start += len(block)
        row = (f"{searched:.1f}", f"{searched_cpu:.1f}", len(positives.cells) // 2, f"{step:.3f}",
               f"{step_cpu:.3f}", f"{step * an_epoch:.1f}",
               f"{step * max(600, 20 * an_epoch):.0f}", f"{seconds:.2f}",
               f"{peak / 1e3:.2f}")  # fmt: skip
        print(f"{n:>12}" + "".join(f"{value:>12}" for value in row), flush=True)


def synthetic(random: np.random.Generator, counts: list[int], dim: int, folder: str):
    """Embeddings of unit length on disk, and every cell's type."""
    from lloki.neighbours import unit_rows
    from lloki.storage import StoredRows

    stored, types, first = StoredRows(sum(counts), dim, folder), [], 0
    centres = random.normal(size=(TYPES, dim))
    axes = random.normal(size=(RANK, dim)) * np.linspace(1, 0.1, RANK)[:, None] * 0.5
    for count in counts:
        shift = random.normal(size=dim)
        types.append(random.integers(0, TYPES, count))
        for start in range(0, count, 8192):
            kind = types[-1][start : start + 8192]
            values = centres[kind] + shift + random.normal(size=(len(kind), RANK)) @ axes
            values += 0.05 * random.normal(size=values.shape)
            stored[slice(first + start, first + start + len(kind))] = unit_rows(values)
        first += count
    return stored, np.concatenate(types)


def drawn(random: np.random.Generator, embedding, counts: list[int], types: np.ndarray):
    """Neighbours of the own slice and pairs of the next one, at random within types."""
    from lloki.training import Cells, Positives

    slices = np.repeat(np.arange(len(counts)), counts)
    near = np.empty((len(types), 30), dtype=np.int32)
    pairs = []
    for kind in range(TYPES):
        of_slice = [np.flatnonzero((types == kind) & (slices == s)) for s in range(len(counts))]
        for here, there in zip(of_slice, of_slice[1:] + of_slice[:1], strict=True):
            near[here] = random.choice(here, size=(len(here), 30))
            pairs.append(
                np.column_stack([here.repeat(PAIRS), random.choice(there, len(here) * PAIRS)])
            )
    pairs = [np.concatenate(pairs).astype(np.int32)]
    pairs.append(pairs[0][:, ::-1])
    return Cells(embedding, slices, slices, near), Positives.of(pairs, len(types))


if __name__ == "__main__":
    main()
