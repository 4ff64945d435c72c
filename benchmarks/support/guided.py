"""Embeddings by methods that are guided by a reference: Seurat's mapping, and scANVI."""

import subprocess
import sys
import tempfile
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.io
import scipy.sparse as sp


def seurat(cells, references):
    """The reference's components of the cells of each slice, by Seurat's anchors (n × 30).

    Cells without a count in the genes of both lie at the mean of their slice.
    """
    from lloki.slices import files, genes

    if len(references) != 1:
        raise SystemExit("--seurat: a mapping needs one --reference")
    raw = files.read_h5ad(references[0])
    spaces = []
    for part in cells:
        own, other = genes.shared(part.var_names, raw.var_names)
        counts = sp.csr_matrix(part.layers["counts"])[:, own]
        filled = np.diff(counts.indptr) > 0
        with tempfile.TemporaryDirectory() as folder:
            sides = {
                "slice": (counts[filled], raw.var_names[other]),
                "reference": (sp.csr_matrix(raw.X), raw.var_names),
            }
            for name, (values, names) in sides.items():
                scipy.io.mmwrite(f"{folder}/{name}.mtx", values)
                Path(folder, f"{name}.txt").write_text("\n".join(names))
            script = Path(__file__).with_name("run_seurat_map.R")
            subprocess.run(["Rscript", script, folder], check=True, stdout=sys.stderr)
            found = pd.read_csv(f"{folder}/out.csv").to_numpy(np.float32)
        spaces.append(np.tile(found.mean(axis=0), (part.n_obs, 1)))
        spaces[-1][filled] = found
    return spaces


def scanvi(env, cells, references, known, batches):
    """scANVI's latent space of the slices' cells (n × 30), on the genes that all share.

    env: an environment that has scvi-tools; known: the labels of each reference's cells (None:
    none); batches: of the slices' cells.
    """
    from lloki.integration import joined
    from lloki.slices import files

    parts = [ad.AnnData(c.layers["counts"], var=c.var) for c in cells]
    parts += [files.read_h5ad(path) for path in references]
    counts = joined.shared_expression(parts, joined.shared_genes([p.var_names for p in parts]))
    labels = np.concatenate([np.full(len(batches), None), *known])
    data = ad.AnnData(counts)
    data.obs["label"] = np.where(labels == None, "?", labels).astype(str)  # noqa: E711
    data.obs["batch"] = [*batches, *(f"reference {i}" for i, k in enumerate(known) for _ in k)]
    with tempfile.TemporaryDirectory() as folder:
        data.write_h5ad(f"{folder}/in.h5ad")
        script = Path(__file__).with_name("run_scanvi.py")
        outputs = f"{folder}/out.csv", f"{folder}/space.csv"
        subprocess.run([f"{env}/bin/python", script, f"{folder}/in.h5ad", *outputs], check=True,
                       stdout=sys.stderr)  # fmt: skip
        return np.loadtxt(outputs[1], delimiter=",", dtype=np.float32)[: len(batches)]
