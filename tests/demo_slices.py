"""The demo's slices as AnnData, in whatever form they lie in assets/demo."""

from pathlib import Path

import anndata as ad

from lloki.slices import chosen, detect, files

DEMO = Path(__file__).parents[1] / "assets" / "demo"
LABELS = ["cell_type", "cell_type_coarse"]


def demo_slice(name: str) -> ad.AnnData:
    """Raw counts, labels and coordinates of osmfish, starmap, xenium or the reference."""
    if name != "xenium":
        return files.read_h5ad(DEMO / f"{name}.h5ad")
    data = detect.read(DEMO / "xenium").data
    data, _ = chosen.choose(data, DEMO / "xenium_cells.csv")
    data.obs = data.obs[LABELS]
    return data
