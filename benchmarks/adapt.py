#!/usr/bin/env python3
"""What --adapt-from is worth: each technology and panel held out of training, and adapted to.

The mosaic model and the autoencoder are trained on the other batches. The held-out slices are
embedded by that mosaic model (its genes that the others measured) and join by --adapt-from. Beside
it: the same embeddings trained in full (what adapting is to reach), the model without adapting (the
new batch has the mean of the known vectors), and full training with a mosaic model of all. Every
step is the pipeline's own script with its defaults. `transfer to it`: macro F1 of the labels that
the held-out cells get from the others. Without arguments it takes the slices of the demo.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bin"), str(Path(__file__).parent)]

from support import demo  # noqa: E402

SHOWN = ("Bio conservation", "Batch correction", "Label transfer F1", "iLISI")


@click.command()
@click.option("--slice", "paths", multiple=True, help="Labelled h5ad with counts and, in uns, its "
              "technology; repeatable.")  # fmt: skip
@click.option("--reference", help="scRNA-seq h5ad.  [default: the demo's]")
@click.option("--label-key", default="cell_type_coarse", show_default=True)
@click.option("--ignore-label", default="Other", show_default=True, help="A label of no type.")
@click.option("--only", multiple=True, help="Technologies to hold out; repeatable.  [default: all]")
@click.option("--seeds", default=1, show_default=True)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE",
              help="Another value of an option of adapting, such as lr=0.001.")  # fmt: skip
def main(paths, reference, label_key, ignore_label, only, seeds, settings) -> None:
    """Print a row for each batch held out and each way to have it in the embedding."""
    import integration as benchmark

    from lloki.slices import files

    paths = paths or demo.slices()
    reference = reference or demo.path("reference")
    atlas = files.read_reference(reference)
    cells = [benchmark.prepare(path) for path in paths]
    labels = np.concatenate([benchmark.labels_of(c, label_key, ignore_label) for c in cells])
    more = [f"--{s.replace('_', '-')}" for s in settings]
    with tempfile.TemporaryDirectory() as folder:
        before = benchmark.before(cells)
        study = Study(Path(folder), cells, labels, before, [f"--input={reference}"])
        for c, name in zip(cells, study.names, strict=True):
            study.write(c, f"{name}.slice.h5ad")
            c.X = benchmark.propagate(c, [atlas])
            study.write(c, f"{name}.denoised.h5ad")
        print(f"{'held out':36}{'':28}" + "".join(f"{n:>20}" for n in [*SHOWN, "transfer to it"]))
        everything = study.embed("all", study.names)
        models = [study.train(everything, study.names, s, f"all{s}") for s in range(seeds)]
        whole = [study.infer(everything, model) for model in models]
        for batch in sorted(set(study.batches)):
            if only and batch.partition(",")[0] not in only:
                continue
            study.show(batch, "full, mosaic of all too", whole)
            for way, spaces in held_out(study, batch, seeds, more).items():
                study.show(batch, way, spaces)


def held_out(study: Study, batch: str, seeds: int, more: list[str]) -> dict[str, list]:
    """Embeddings of all cells for each seed, by each way to have the batch in them."""
    others = [n for n, b in zip(study.names, study.batches, strict=True) if b != batch]
    here = study.embed("others", others)
    found: dict[str, list] = {"not adapted": [], "adapted": [], "full": []}
    for seed in range(seeds):
        base = study.train(here, others, seed, "base")
        found["not adapted"].append(study.unadapted(here, base))
        adapted = study.train(here, study.names, seed, "adapted", f"--adapt-from={base}", *more)
        found["adapted"].append(study.infer(here, adapted))
        found["full"].append(study.infer(here, study.train(here, study.names, seed, "full")))
    return found


class Study:
    """The slices as files in a folder, and the pipeline's scripts on them."""

    def __init__(self, folder, cells, labels, before, references) -> None:
        self.folder, self.labels, self.references = folder, labels, references
        self.before = before
        self.names = [str(c.obs["sample"].iloc[0]) for c in cells]
        self.batches = ["{technology}, {panel}".format(**c.obs.iloc[0]) for c in cells]
        self.of_cell = np.repeat(self.batches, [c.n_obs for c in cells])

    def write(self, cells, name) -> None:
        from lloki.slices import files

        files.write_h5ad(cells, self.folder / name)

    def embed(self, model, fitted) -> list[Path]:
        """Embeddings of all slices by the mosaic model of some of them, and of the references."""
        import fit_mosaic
        import mosaic_embed

        inputs = [f"--input={self.folder / n}.denoised.h5ad" for n in fitted]
        _run(fit_mosaic, *inputs, *self.references, f"--output={self.folder / model}.mosaic")
        found = []
        for name in self.names:
            found.append(self.folder / f"{name}.{model}.fp.h5ad")
            _run(mosaic_embed, f"--input={self.folder / name}.denoised.h5ad",
                 f"--model={self.folder / model}.mosaic", f"--output={found[-1]}")  # fmt: skip
        return found

    def train(self, embeddings, names, seed, model, *more) -> Path:
        """The autoencoder trained on the slices of these names."""
        import train_cae

        given = [f"--input={e}" for n, e in zip(self.names, embeddings, strict=True) if n in names]
        given += [f"--slice={self.folder / n}.slice.h5ad" for n in names]
        output = self.folder / f"{model}.cae"
        _run(train_cae, *given, f"--output={output}", f"--seed={seed}", *more)
        return output

    def infer(self, embeddings, model) -> np.ndarray:
        """Latent positions of all cells."""
        import infer_cae
        from lloki.slices import files

        out, latent = self.folder / "out.h5ad", []
        for path in embeddings:
            _run(infer_cae, f"--input={path}", f"--model={model}", f"--output={out}")
            latent.append(files.read_embedding(out, "X_lloki").obsm["X_lloki"])
        return np.concatenate(latent)

    def unadapted(self, embeddings, model) -> np.ndarray:
        """Latent positions where a batch unknown to the model has the mean of the known vectors."""
        import torch

        from lloki.integration import cae
        from lloki.slices import files

        network, config = cae.load(model)
        known = ["{technology}, {panel}".format(**b) for b in config["batches"]]
        network, latent = cae.extended(network, len(known) + 1), []
        for path, batch in zip(embeddings, self.batches, strict=True):
            space = files.read_embedding(path, "X_lloki_fp").obsm["X_lloki_fp"]
            token = np.full(len(space), known.index(batch) if batch in known else len(known))
            latent.append(cae.encode(network, space, token, torch.device("cpu")))
        return np.concatenate(latent)

    def show(self, batch, way, spaces) -> None:
        """One row: means and standard deviations over the seeds."""
        from lloki.scores import metrics

        found = []
        for space in spaces:
            scores = metrics.evaluate(space, self.labels, self.of_cell, self.before)
            found.append([*(scores[n] for n in SHOWN), self._transfer_to(batch, space)])
        mean, deviation = np.mean(found, axis=0), np.std(found, axis=0)
        print(f"{batch[:34]:36}{way:28}" + "".join(f"{m:>13.3f} ±{d:.3f}" for m, d in
              zip(mean, deviation, strict=True)), flush=True)  # fmt: skip

    def _transfer_to(self, batch, space) -> float:
        from lloki.scores import metrics

        known = np.array([label is not None for label in self.labels])
        inside = (self.of_cell == batch)[known]
        return metrics.label_transfer_to(space[known], self.labels[known].astype(str), inside)


def _run(script, *arguments) -> None:
    import integration as benchmark
    from click.testing import CliRunner

    benchmark.run(CliRunner(), script.main, *arguments)


if __name__ == "__main__":
    main()
