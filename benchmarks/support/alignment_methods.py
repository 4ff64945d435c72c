"""The ways to align two slices that benchmarks/alignment.py compares."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
RUNNERS = ("moscot", "gpsa")  # programs of environments of their own


def methods_of(envs, paste_cells, mirror) -> dict:
    """Each method: a case to the moved places, a list of them where the best is to be kept."""
    from lloki.alignment import baselines, pairwise
    from lloki.scores.baselines import Shared, read_embedding, write

    def lloki(case, plain=False):
        fit = pairwise.align(case["moving"], case["fixed"], plain=plain, mirror=mirror)
        if fit.method == "identity":
            raise RuntimeError(fit.reason)
        return fit.motion(case["moving"][1])

    def pca(case):
        spaces = baselines.components(*case["expression"])
        places = case["moving"][1], case["fixed"][1]
        return baselines.kabsch_on(*zip(spaces, places, strict=True))(places[0])

    def paste(case):
        sides = [(x, case[side][1]) for x, side in
                 zip(case["expression"], ("moving", "fixed"), strict=True)]  # fmt: skip
        return [
            baselines.paste(*sides, alpha, paste_cells, np.random.default_rng(0))[0](sides[0][1])
            for alpha in baselines.ALPHAS
        ]

    def staligner(case):
        """Its embedding, Kabsch on mutual neighbours in it, then iterative closest points."""
        with tempfile.TemporaryDirectory() as folder:
            shared = Shared.of(case["cells"])
            write(shared, Path(folder))
            out = f"{folder}/staligner.csv"
            subprocess.run([sys.executable, ROOT / "bin/baseline_staligner.py", "--input", folder,
                            "--output", out], check=True, capture_output=True)  # fmt: skip
            space = read_embedding(out, shared.cells["cell"])
        cut = case["cells"][0].n_obs
        sides = [(part, case[side][1]) for part, side in
                 zip((space[:cut], space[cut:]), ("moving", "fixed"), strict=True)]  # fmt: skip
        return closest_points(baselines.kabsch_on(*sides)(sides[0][1]), sides[1][1])

    methods = {
        "LLOKI": lloki, "LLOKI --plain": lambda case: lloki(case, True), "PCA + Kabsch": pca,
        "PASTE": paste, "STAligner + ICP": staligner,
    }  # fmt: skip
    for name in RUNNERS:
        if name in envs:
            methods[name] = lambda case, name=name: elsewhere(case, name, Path(envs[name]))
    return methods


def closest_points(moving, fixed, rounds=100):
    """Places of `moving` after fits, again and again, of each to the nearest of `fixed`."""
    from scipy.spatial import cKDTree

    from lloki.alignment.rigid import kabsch

    ground = cKDTree(fixed)
    for _ in range(rounds):
        moved = kabsch(moving, fixed[ground.query(moving)[1]])(moving)
        step, moving = np.abs(moved - moving).max(), moved
        if step < 0.1:
            break
    return moving


def elsewhere(case, name, folder):
    """The moved places by a program in an environment of its own."""
    with tempfile.TemporaryDirectory() as work:
        given, got = f"{work}/given.npz", f"{work}/got.npz"
        moving, fixed = case["expression"]
        np.savez(given, moving=moving, fixed=fixed, moving_places=case["moving"][1],
                 fixed_places=case["fixed"][1])  # fmt: skip
        script = Path(__file__).with_name(f"run_{name}.py")
        done = subprocess.run([folder / "bin" / "python", script, given, got], text=True,
                              capture_output=True)  # fmt: skip
        if done.returncode:
            raise RuntimeError((done.stderr.strip() or "no message").splitlines()[-1])
        return np.load(got)["moved"]
