"""The demo's slices as AnnData, in whatever form they lie in assets/demo."""

from pathlib import Path

import anndata as ad
import numpy as np

from lloki.integration import joined
from lloki.slices import chosen, detect, files

DEMO = Path(__file__).parents[1] / "assets" / "demo"
NAMES = ("osmfish", "starmap", "xenium")
LABELS = ["cell_type", "cell_type_coarse"]


def demo_slice(name: str) -> ad.AnnData:
    """Raw counts, labels and coordinates of osmfish, starmap, xenium or the reference."""
    if name != "xenium":
        return files.read_h5ad(DEMO / f"{name}.h5ad")
    data = detect.read(DEMO / "xenium").data
    data, _ = chosen.choose(data, DEMO / "xenium_cells.csv")
    data.obs = data.obs[LABELS]
    return data


def integrated(folder):
    """Prepared slices of 400 real cells, integrated with an embedding of their types: files."""
    rng = np.random.default_rng(0)
    tables, arrays, kinds = [], {"X_lloki": [], "spatial": []}, {}
    for name in NAMES:
        data = demo_slice(name)
        data = data[np.sort(rng.choice(data.n_obs, 400, False))].copy()
        data = files.prepare(data, name, sample=name, technology=name)
        files.write_h5ad(data, folder / f"{name}.slice.h5ad")
        tables.append(data.obs)
        arrays["spatial"].append(data.obsm["spatial"])
        of_type = [kinds.setdefault(t, rng.gamma(1, size=12)) for t in data.obs["cell_type_coarse"]]
        arrays["X_lloki"].append(np.array(of_type) + rng.gamma(1, 0.3, (len(data), 12)) + 0.4)
    obs = joined.join_obs(tables)
    obsm = {key: np.concatenate(parts) for key, parts in arrays.items()}
    obsm["X_lloki"] = obsm["X_lloki"].astype(np.float32)
    files.write_h5ad(ad.AnnData(obs=obs, obsm=obsm), folder / "integrated.h5ad")
