#!/usr/bin/env python3
"""Put all that new slices need to join this run's embedding in one folder."""

import json
import shutil
from pathlib import Path

import click

from lloki import __version__
from lloki.support.checksum import sha256
from lloki.support.cli import Run, command, seed_option
from lloki.support.errors import InputError

CELLS = 5_000  # of a reference: enough for the distribution of their sparsity


@command("gather_model")
@click.option("--input", required=True, help="The autoencoder: the folder that train_cae.py wrote.")
@click.option("--mosaic", help="The embedder's model, where it is a mosaic model.")
@click.option("--reference", multiple=True, help="A reference, h5ad; repeatable.")
@click.option("--metagenes", help="The folder that metagenes.py wrote, or model.npz of it.")
@click.option("--niches", help="The folder that niche_program.py wrote.")
@click.option("--setting", multiple=True, metavar="NAME=VALUE",
              help="A parameter that slices are to share; repeatable.")  # fmt: skip
@click.option("--output", required=True, help="The folder to write.")
@seed_option
def main(run: Run, input, mosaic, reference, metagenes, niches, setting, output, seed) -> None:
    """Gather autoencoder, mosaic model, sparsity of the references and settings of a run."""
    from lloki.slices import files

    try:
        config = json.loads(Path(input, "config.json").read_text())
        embedder, batches = config["embedder"].split(" ")[0], config["batches"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        fact = "not a trained autoencoder"
        raise InputError(input, fact, "give a folder that train_cae.py wrote") from None
    if embedder == "mosaic" and not mosaic:
        fact = "its slices were embedded by a mosaic model"
        raise InputError(input, fact, "give it: --mosaic FOLDER")
    held = _references(reference, seed)
    record = {
        "version": __version__, "embedder": embedder, "batches": batches,
        "references": list(held), "settings": dict(s.split("=", 1) for s in setting),
    }  # fmt: skip
    run.report(embedder=embedder, batches=batches, references=list(held))
    with run.output(output) as temporary:
        temporary.mkdir()
        shutil.copytree(input, temporary / "cae")
        if mosaic:
            shutil.copytree(mosaic, temporary / "mosaic")
        if metagenes:
            programs = Path(metagenes)
            programs = programs / "model.npz" if programs.is_dir() else programs
            shutil.copy(programs, temporary / "metagenes.npz")
        for program in sorted(Path(niches).glob("*/program.json")) if niches else ():
            (temporary / "niches" / program.parent.name).mkdir(parents=True)
            shutil.copy(program, temporary / "niches" / program.parent.name)
        (temporary / "references").mkdir()
        for name, data in held.items():
            files.write_h5ad(data, temporary / "references" / name)
        (temporary / "model.json").write_text(json.dumps(record, indent=2) + "\n")


def _references(paths, seed: int) -> dict:
    """Each reference once, by the name that it gets; a model that was adapted has held some."""
    found = {}
    for path in paths:
        data = _measured(path, seed)
        source = data.uns["lloki"]["reference"]["sha256"]
        found.setdefault(source, (Path(path).name, data))
    named = {}
    for i, (name, data) in enumerate(found.values(), 1):
        named[f"{i}.h5ad" if name in named else name] = data
    return named


def _measured(path: str, seed: int):
    """Which genes the cells of a reference have, CELLS cells at most: all that targets need.

    One that is such already comes as it is.
    """
    import anndata as ad
    import numpy as np

    from lloki.slices import files

    data = files.read_reference(path)
    if "reference" in data.uns.get("lloki", {}):
        return data
    rows = np.sort(np.random.default_rng(seed).permutation(data.n_obs)[:CELLS])
    taken = data.uns.get("lloki_reference", {})
    there = data.X[rows].sign()
    found = ad.AnnData(there, var=data.var[[]], obs=data.obs.iloc[rows][[]])
    files.record(found, "reference", sha256=sha256(path), cells=data.n_obs, **taken)
    return found


if __name__ == "__main__":
    main()
