#!/usr/bin/env python3
"""Tissue domains against CellCharter, BANKSY and STAligner on slices with known layers and regions.

    benchmarks/domains.py --slice FILE ... --reference FILE --group 10,14:A,B,C,D --group 7:B,C,D
        --alone --peer cellcharter=ENVIRONMENT --peer banksy=ENVIRONMENT --keep FOLDER

All slices are embedded together, as benchmarks/integration.py does it. In each group of slices
every method finds the given numbers of domains: the recipe of domains.py (LLOKI, and LLOKI-FP with
its panels brought together), the same on each alone, as it is, and on the components of the genes
that the group shares; the others on those genes. `--alone`: each
slice by itself on its whole panel, told how many regions it has: what there is to find. Prints ARI
and NMI of each slice and of the cells of all together whose region several slices have (SAME), mean
over the seeds; then regions carried over between technologies (TAUGHT) by the same vote, F1 of
each. CellCharter and BANKSY (GPL-3) run as programs in environments made from
support/requirements-*.txt; STAligner is the project's own, its embedding is clustered by a full
Gaussian mixture (its authors use mclust).
"""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bin"), str(Path(__file__).parent)]

TAUGHT = "STARmap", "osmFISH"  # the technology whose regions are carried over, and to which
SAME = {  # the regions that both have, under one name
    "Layer 6": "L6", "Layer 5": "L5", "Layer 4": "L4", "Layer 2-3 medial": "L2/3",
    "Layer 2-3 lateral": "L2/3", "Pia Layer 1": "L1", "White matter": "WM", "cc": "WM",
    "Hippocampus": "HPC", **{name: name for name in ("L1", "L2/3", "L4", "L5", "L6", "HPC")},
}  # fmt: skip


@click.command()
@click.option("--slice", "paths", multiple=True, required=True, help="h5ad; repeatable.")
@click.option("--reference", "references", multiple=True, required=True)
@click.option("--region-key", default="region", show_default=True)
@click.option("--group", "groups", multiple=True, help="NUMBERS:SLICES; repeatable.  "
              "[default: 10,14 of all slices with regions]")  # fmt: skip
@click.option("--alone", is_flag=True, help="Also each slice by itself.")
@click.option("--peer", "peers", multiple=True, help="NAME=ENVIRONMENT, or staligner; repeatable.")
@click.option("--seeds", default=3, show_default=True)
@click.option("--keep", required=True, help="Folder that keeps what was computed for a rerun.")
def main(paths, references, region_key, groups, alone, peers, seeds, keep):
    """Print a row for each method in each group."""
    import integration

    keep = Path(keep)
    keep.mkdir(exist_ok=True)
    parts = {Path(path).stem: integration.prepare(path) for path in paths}
    spaces, fp = embedded(list(parts.values()), references, seeds, keep / "spaces.npz")
    starts = np.cumsum([0, *(part.n_obs for part in parts.values())])
    rows = {name: np.arange(*ends) for name, ends in zip(parts, pairwise(starts), strict=True)}
    regions = {name: integration.labels_of(part, region_key, "") for name, part in parts.items()}
    having = [name for name in parts if (regions[name] != None).any()]  # noqa: E711
    chosen(parts, methods(parts, spaces, fp)["LLOKI"], regions)
    for group in groups or [f"10,14:{','.join(having)}"]:
        numbers, names = group.split(":")
        numbers, names = [int(n) for n in numbers.split(",")], names.split(",")
        some = {name: parts[name] for name in names}
        cells = np.concatenate([rows[name] for name in names])
        given = methods(some, [space[cells] for space in spaces], fp[cells])
        given["shared genes"] = [[integration.before(list(some.values()))]] * seeds
        compare(some, given, numbers, regions, peers, seeds, keep)
    for name in having if alone else ():
        some, number = {name: parts[name]}, len(set(regions[name]) - {None})
        given = methods(some, [space[rows[name]] for space in spaces], fp[rows[name]])
        given["whole panel"] = [[integration.before(list(some.values()))]] * seeds
        compare(some, given, [number], regions, peers, seeds, keep)


def embedded(parts, references, seeds, path):
    """LLOKI of each seed, and LLOKI-FP, of all cells."""
    import integration

    from lloki.slices import files

    if not path.exists():
        atlases = [files.read_reference(reference) for reference in references]
        fp = integration.embed(parts, [integration.propagate(p, atlases) for p in parts], atlases)
        spaces = [integration.integrate(fp, parts, seed, {}) for seed in range(seeds)]
        np.savez(path, spaces=spaces, fp=np.concatenate(fp))
    kept = np.load(path)
    return list(kept["spaces"][:seeds]), kept["fp"]


def methods(parts, spaces, fp):
    """Embeddings whose surroundings are clustered, by method, for each seed."""
    from lloki.annotation import domains

    panels = np.concatenate([part.obs["panel"].astype(str) for part in parts.values()])
    both = [[space, domains.levelled(fp, space, panels, seed)] for seed, space in enumerate(spaces)]
    alone = {"LLOKI alone": [[space] for space in spaces], "LLOKI-FP": [[fp]] * len(spaces)}
    return {"LLOKI": both, **alone}


def around(parts, spaces):
    """Surroundings of the cells of these slices in these embeddings."""
    from lloki.annotation import domains

    starts = np.cumsum([0, *(part.n_obs for part in parts.values())])
    places = [part.obsm["spatial"] for part in parts.values()]
    slices = [(np.arange(*ends), own) for ends, own in zip(pairwise(starts), places, strict=True)]
    return domains.surroundings(spaces, slices)


def chosen(parts, spaces, regions):
    """All slices at the number that domains.py chooses."""
    from lloki.annotation import domains

    found = []
    for seed, both in enumerate(spaces):
        value = around(parts, both)
        number = domains.choose(domains.stability(value, samples_of(parts), seed=seed))
        found.append(scores(parts, domains.domains(value, number, seed), regions))
        print(f"all {len(parts)} slices, seed {seed}: {number} domains chosen")
    tell("LLOKI, chosen", found)


def compare(parts, given, numbers, regions, peers, seeds, keep):
    """Scores of each method, then the regions that it carries over."""
    from lloki.annotation import domains

    group, found, votes = "+".join(parts), {}, {}
    print(f"\n{group}: {sum(part.n_obs for part in parts.values())} cells, {len(panel(parts))} "
          f"genes in all; at {numbers} domains", flush=True)  # fmt: skip
    for name, spaces in given.items():
        for seed, own in enumerate(spaces):
            value = around(parts, own)
            for number in numbers:
                codes = domains.domains(value, number, seed)
                found.setdefault((name, number), []).append(scores(parts, codes, regions))
            votes.setdefault(name, []).append(carried(parts, value, regions))
    for peer in peers:
        name, env = (*peer.split("="), "")[:2]
        for seed in range(seeds):
            path = keep / f"{name}-{'-'.join(map(str, numbers))}-{group}-{seed}.npz"
            if not path.exists():
                run(name, env, parts, numbers, seed, path)
            got = np.load(path)
            for number, codes in zip(numbers, got["codes"], strict=True):
                found.setdefault((name, number), []).append(scores(parts, codes, regions))
            votes.setdefault(name, []).append(carried(parts, got["space"], regions))
    for number in numbers:
        for name in votes:
            tell(f"{name}, {number}", found[name, number])
    for name, tables in votes.items():
        if tables[0]:
            print(f"{name:20} carried: " + "  ".join(
                f"{key} {np.mean([t[key] for t in tables]):.2f}" for key in tables[0]
            ) + f"  ± {np.std([t['macro'] for t in tables]):.2f}", flush=True)  # fmt: skip


def panel(parts):
    """The genes that these slices share."""
    from lloki.integration import joined

    return joined.shared_genes([part.var_names for part in parts.values()])


def samples_of(parts):
    return np.repeat(list(parts), [part.n_obs for part in parts.values()])


def run(name, env, parts, numbers, seed, path):
    """Another method's features and domains: space (n × d) and codes (numbers × n)."""
    if name == "staligner":
        import integration
        from sklearn.mixture import GaussianMixture

        space = integration.baseline(name, list(parts.values()), seed)
        codes = [GaussianMixture(k, random_state=seed).fit_predict(space) for k in numbers]
        np.savez(path, space=space, codes=codes)
        return
    from lloki.integration import joined

    raw = [part.copy() for part in parts.values()]
    for part in raw:
        part.X = part.layers["counts"]
    counts = joined.shared_expression(raw, panel(parts)).toarray()
    places = np.concatenate([even(part.obsm["spatial"]) for part in parts.values()])
    given, program = path.with_suffix(".given.npz"), f"benchmarks/support/run_{name}.py"
    np.savez(given, counts=counts, places=places, samples=samples_of(parts).astype(str),
             numbers=numbers, seed=seed)  # fmt: skip
    got = subprocess.run([f"{env}/bin/python", ROOT / program, given, path], cwd=path.parent,
                         capture_output=True, text=True)  # fmt: skip
    given.unlink()
    if got.returncode:
        raise SystemExit(f"{name} failed: {got.stderr[-2000:]}")


def even(places):
    """Coordinates in median distances to the nearest cell: pixels are as good as micrometres."""
    from scipy.spatial import cKDTree

    return places[:, :2] / np.median(cKDTree(places[:, :2]).query(places[:, :2], 2)[0][:, 1])


def scores(parts, codes, regions):
    """ARI and NMI of each slice that has regions, and of all of them together."""
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    found, start = {}, 0
    truth = same(np.concatenate([regions[name] for name in parts]))
    common = np.isin(truth, list(set(SAME.values())))
    pair = truth[common].astype(str), codes[common]
    found["together"] = adjusted_rand_score(*pair), normalized_mutual_info_score(*pair)
    for name, part in parts.items():
        own, start = codes[start : start + part.n_obs], start + part.n_obs
        known = regions[name] != None  # noqa: E711
        if known.any():
            pair = regions[name][known].astype(str), own[known]
            found[name] = adjusted_rand_score(*pair), normalized_mutual_info_score(*pair)
    return found


def tell(name, found):
    """ARI / NMI of each slice, their mean ± standard deviation over the seeds, all together."""
    values = np.array([list(one.values()) for one in found])  # seeds × slices × 2
    each = "  ".join(f"{key[:16]} {a:.2f} / {n:.2f}" for key, (a, n) in
                     zip(found[0], values.mean(axis=0), strict=True))  # fmt: skip
    values = values[:, 1:]  # of single slices
    (ari, nmi), spread = values.mean(axis=(0, 1)), values.mean(axis=1).std(axis=0)
    print(f"{name:20} {each}  mean {ari:.3f} ± {spread[0]:.3f} / {nmi:.3f} ± {spread[1]:.3f}",
          flush=True)  # fmt: skip


def same(regions):
    """Regions under the names that technologies share."""
    return np.array([SAME.get(one, one) for one in regions], dtype=object)


def carried(parts, value, regions):
    """F1 of each region that both technologies have, their mean and the accuracy; {} if none."""
    from sklearn.metrics import f1_score

    from lloki.annotation import domains

    technologies = np.concatenate([p.obs["technology"].astype(str) for p in parts.values()])
    truth = same(np.concatenate([regions[name] for name in parts]))
    known = np.where(technologies == TAUGHT[0], truth, None)
    asked = (technologies == TAUGHT[1]) & np.isin(truth, list(set(known) - {None}))
    if not asked.any():
        return {}
    found, _ = domains.carried(value.astype(np.float32), known, samples_of(parts))
    found, truth = found[asked].astype(str), truth[asked].astype(str)
    names = np.unique(truth)
    each = f1_score(truth, found, labels=names, average=None, zero_division=0)
    return {**dict(zip(names, each, strict=True)), "macro": each.mean(),
            "accuracy": (found == truth).mean()}  # fmt: skip


if __name__ == "__main__":
    main()
