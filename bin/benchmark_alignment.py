#!/usr/bin/env python3
"""Compare the alignment of slices with other ways to align them, on the slices themselves."""

import time

import click

from lloki.support.cli import Run, command, seed_option, slices_option
from lloki.support.errors import InputError

LLOKI, PLAIN, PCA, PASTE = "LLOKI", "Kabsch on LLOKI", "Kabsch on PCA", "PASTE's objective"
FLOOR = "random motions"


@command("benchmark_alignment")
@click.option(
    "--input", required=True, multiple=True, help="Aligned SAMPLE.lloki.h5ad; repeatable."
)
@slices_option
@click.option("--output", required=True, help="The table to write: alignment_scores.csv.")
@click.option("--label-key", help="Column of obs with cell types.")
@click.option("--paste-cells", type=click.IntRange(10), default=500, help="Of a slice, for PASTE.")
@seed_option
def main(run: Run, input, slice, output, label_key, paste_cells, seed) -> None:
    """Score LLOKI's alignment beside Kabsch on PCA, PASTE's objective and random motions."""
    import pandas as pd

    from lloki.slices import files, samples

    aligned = samples.by_sample(
        input, lambda path: files.read_embedding(path, "X_lloki", "spatial_aligned")
    )
    expressed = samples.expression_of(slice, aligned)
    for sample, part in aligned.items():
        if label_key and label_key not in part.obs:
            run.warn(f"{sample} has no column {label_key!r}: no label match with it")
    on = {sample: _reference(part) for sample, part in aligned.items()}
    if not set(on.values()) <= set(aligned):
        raise InputError("--input", "the slices do not say on which they were laid", "run align.py")
    rows = []
    with run.progress(len(aligned), "slices") as progress:
        for sample, reference in on.items():
            if sample != reference:
                pair = [aligned[s] for s in (sample, reference)]
                both = [expressed[s] for s in (sample, reference)]
                found = _compare(run, pair, both, label_key, paste_cells, seed)
                rows += [{"sample": sample, "reference": reference, **row} for row in found]
                progress.update()
    columns = ["sample", "reference", "method", "pearson", "label_match", "seconds", "note"]
    table = pd.DataFrame(rows, columns=columns)
    run.report(references=on, samples=list(aligned), scores=table.to_dict("records"))
    with run.output(output) as temporary:
        table.to_csv(temporary, index=False)


def _reference(part) -> str:
    """The sample on which a slice was laid; '' where it does not say."""
    return str(part.uns.get("lloki", {}).get("align", {}).get("reference", ""))


def _compare(run: Run, pair, both, label_key, paste_cells: int, seed: int) -> list[dict]:
    """A row for each method on one pair of slices."""
    import numpy as np

    from lloki.alignment import baselines
    from lloki.alignment.rigid import Unalignable
    from lloki.slices import genes
    from lloki.slices.labels import known_labels

    (moving, fixed), sample = pair, str(pair[0].obs["sample"].iloc[0])
    columns = genes.shared(both[0].var_names, both[1].var_names)
    if not len(columns[0]):
        run.warn(f"{sample} shares no gene with the reference: nothing to score")
        return []
    expression = [part.X[:, g].toarray() for part, g in zip(both, columns, strict=True)]
    labels = None
    if label_key and all(label_key in part.obs for part in pair):
        labels = [known_labels(part.obs[label_key]) for part in pair]
    places, ground = moving.obsm["spatial"], fixed.obsm["spatial"]

    def scored(moved):
        return baselines.scores(moved, ground, expression, labels)

    def kabsch(spaces):
        return scored(baselines.kabsch_on((spaces[0], places), (spaces[1], ground))(places))

    def paste():
        sides = [(expression[0], places), (expression[1], ground)]
        tried = []
        for alpha in baselines.ALPHAS:
            rng = np.random.default_rng(seed)
            motion, _ = baselines.paste(*sides, alpha, paste_cells, rng)
            tried.append(scored(motion(places)))
        return max(tried, key=lambda one: one["pearson"])

    def floor():
        rng = np.random.default_rng(seed)
        many = [scored(baselines.random_motion(places, ground, rng)(places))
                for _ in range(baselines.FLOOR)]  # fmt: skip
        return {key: float(np.mean([one[key] for one in many])) for key in many[0]}

    left = str(moving.uns["lloki"]["align"]["method"]) == "identity"
    methods = {
        LLOKI: lambda: scored(moving.obsm["spatial_aligned"]),
        PLAIN: lambda: kabsch([part.obsm["X_lloki"] for part in pair]),
        PCA: lambda: kabsch(baselines.components(*expression)),
        PASTE: paste,
        FLOOR: floor,
    }
    rows = []
    for name, method in methods.items():
        start = time.perf_counter()
        if name == LLOKI and left:
            rows.append({"method": name, "note": "not aligned: it keeps its own frame"})
            continue
        try:
            rows.append({"method": name, **method()})
        except Unalignable as error:
            rows.append({"method": name, "note": str(error)})
        if name != LLOKI:
            rows[-1]["seconds"] = round(time.perf_counter() - start, 2)
    return rows


if __name__ == "__main__":
    main()
