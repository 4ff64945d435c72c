"""Whole files to mutate: what every stage reads and writes, of two small slices of the demo."""

from __future__ import annotations

import gzip
import importlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from demo_slices import demo_slice
from nextflow_run import ROOT
from scgpt_checkpoint import write_checkpoint

from fuzzing import folders

CELLS = 60


@dataclass(frozen=True)
class Command:
    """A command as the pipeline calls it, and which of the files it reads are mutated."""

    script: str
    subcommand: str | None
    arguments: tuple[str, ...]  # with the names of files in the folder of seeds
    output: str
    files: tuple[str, ...]  # a folder, or its files one by one

    @property
    def name(self) -> str:
        """The name that its errors begin with."""
        return self.subcommand or self.script

    def run(self, where: Path) -> None:
        """Run it on the files in a folder; SystemExit or an error is its outcome."""
        click_command = importlib.import_module(self.script).main
        given = [self.subcommand] if self.subcommand else []
        for word in self.arguments:
            given.append(str(where / word[1:]) if word.startswith("@") else word)
        output = where / "out" / self.output
        click_command.main([*given, "--output", str(output)], prog_name=self.name)


def command(line: str, output: str, files: str) -> Command:
    """A command from text: `script[.subcommand] --option @file`."""
    first, *arguments = line.split()
    script, _, subcommand = first.partition(".")
    return Command(script, subcommand or None, tuple(arguments), output, tuple(files.split()))


CHECKPOINT = "checkpoint/args.json checkpoint/vocab.json checkpoint/best_model.pt"
RECORDS = "a.slice.json a.graph.json a.targets.json a.fp.json cae.json aligned.json"
COMMANDS = (
    command("prepare_slice --input @a.h5ad --sample a --technology Xenium --label-key cell_type",
            "a.slice.h5ad", "a.h5ad"),
    command("prepare_slice --input @counts.csv --coordinates @places.csv --sample t --technology T",
            "t.slice.h5ad", "counts.csv places.csv"),
    command("prepare_slice --input @counts.csv.gz --coordinates @places.csv --sample t "
            "--technology T", "t.slice.h5ad", "counts.csv.gz"),
    command("prepare_slice --input @open.h5ad --sample a --technology T", "a.slice.h5ad",
            "open.h5ad"),
    command("prepare_slice --input @xenium --sample a --technology Xenium --cells @groups.csv "
            "--label-key cell_type", "a.slice.h5ad", "xenium groups.csv"),
    command("prepare_slice --input @xenium_text --sample a --technology Xenium", "a.slice.h5ad",
            "xenium_text"),
    command("prepare_slice --input @merscope --sample a --technology MERSCOPE --fov 0-1",
            "a.slice.h5ad", "merscope"),
    command("prepare_slice --input @cosmx --sample a --technology CosMx", "a.slice.h5ad", "cosmx"),
    command("prepare_slice --input @store.zarr --sample a --technology T", "a.slice.h5ad",
            "store.zarr"),
    command("prepare_slice --input @spatial.zarr --sample a --technology T", "a.slice.h5ad",
            "spatial.zarr"),
    command("ot_sparsity --input @a.slice.h5ad --reference @open.h5ad --min-shared-genes 3",
            "a.targets.csv", "open.h5ad"),
    command("build_graph --input @a.slice.h5ad", "a.graph.npz", "a.slice.h5ad"),
    command("ot_sparsity --input @a.slice.h5ad --reference @reference.h5ad "
            "--min-shared-genes 3", "a.targets.csv",
            "a.slice.h5ad reference.h5ad"),
    command("propagate.impute --input @a.slice.h5ad --graph @a.graph.npz --targets @a.targets.csv",
            "a.imputed.h5ad", "a.slice.h5ad a.graph.npz a.targets.csv"),
    command("propagate.denoise --input @a.slice.h5ad --imputed @a.imputed.h5ad "
            "--graph @a.imputed.graph.npz", "a.denoised.h5ad",
            "a.slice.h5ad a.imputed.h5ad a.imputed.graph.npz"),
    command("fit_mosaic --input @a.denoised.h5ad --input @b.denoised.h5ad --input @reference.h5ad "
            "--rank 8 --rounds 2", "mosaic", "a.denoised.h5ad reference.h5ad"),
    command("mosaic_embed --input @a.denoised.h5ad --model @mosaic", "a.fp.h5ad",
            "a.denoised.h5ad mosaic/config.json mosaic/loadings.safetensors"),
    command("take_embedding --input @a.slice.h5ad --embedding-key spatial", "a.fp.h5ad",
            "a.slice.h5ad"),
    command("scgpt_embed --input @a.denoised.h5ad --checkpoint @checkpoint --device cpu "
            "--orthologs @orthologs.csv.gz --empty-cells zero", "a.fp.h5ad",
            f"a.denoised.h5ad orthologs.csv.gz {CHECKPOINT}"),
    command("scgpt_embed --input @a.denoised.h5ad --checkpoint @safe --device cpu "
            "--orthologs @orthologs.csv.gz --empty-cells zero", "a.fp.h5ad",
            "safe/model.safetensors"),
    command("pretrain_scgpt --input @a.slice.h5ad --input @reference.h5ad --mosaic @mosaic "
            "--orthologs @orthologs.csv.gz --device cpu --steps 2 --batch-size 8 --dim 16 "
            "--layers 1 --heads 2 --hidden 16 --smoothing 2", "scgpt",
            "a.slice.h5ad mosaic/config.json mosaic/loadings.safetensors orthologs.csv.gz"),
    command("train_cae --input @a.fp.h5ad --input @b.fp.h5ad --epochs 1 --neighbors 5 "
            "--device cpu --latent-dim 8", "cae", "a.fp.h5ad b.fp.h5ad"),
    command("infer_cae --input @a.fp.h5ad --model @cae --device cpu", "a.lloki.h5ad",
            "a.fp.h5ad cae/config.json cae/model.safetensors"),
    command("align_plan --input @a.lloki.h5ad --input @b.lloki.h5ad", "plan.csv",
            "a.lloki.h5ad b.lloki.h5ad"),
    command("align_pairs --input @a.lloki.h5ad --input @b.lloki.h5ad --plan @plan.csv "
            "--chance-runs 2", "0.pairs.npz", "a.lloki.h5ad b.lloki.h5ad plan.csv"),
    command("align --input @a.lloki.h5ad --input @b.lloki.h5ad --pairs @0.pairs.npz", "aligned",
            "a.lloki.h5ad b.lloki.h5ad 0.pairs.npz"),
    command("integrate --input @aligned/a.lloki.h5ad --input @aligned/b.lloki.h5ad "
            "--slice @a.slice.h5ad --slice @b.slice.h5ad --no-umap --n-pcs 5", "integrated.h5ad",
            "aligned/a.lloki.h5ad a.slice.h5ad b.slice.h5ad"),
    command("benchmark --input @integrated.h5ad --embedding X_lloki", "benchmark",
            "integrated.h5ad"),
    command("metagenes --input @integrated.h5ad --slice @a.slice.h5ad --slice @b.slice.h5ad --k 3 "
            "--iterations 3 --starts 1 --repeats 1 --gene-sets @sets.gmt", "metagenes",
            "integrated.h5ad a.slice.h5ad b.slice.h5ad sets.gmt"),
    command("metagenes --input @integrated.h5ad --slice @a.slice.h5ad --slice @b.slice.h5ad "
            "--model @metagenes/model.npz", "laid", "metagenes/model.npz"),
    command("cluster --input @integrated.h5ad --slice @a.slice.h5ad --slice @b.slice.h5ad "
            "--resolution 0.5 --resolution-fine 1", "clusters",
            "integrated.h5ad a.slice.h5ad b.slice.h5ad"),
    command("domains --input @integrated.h5ad --number 3", "domains", "integrated.h5ad"),
    command("annotate --input @integrated.h5ad --label-key cell_type --reference @reference.h5ad "
            "--reference-labels cell_type --model @mosaic --slice @a.slice.h5ad --slice "
            "@b.slice.h5ad --label-map @words.csv --hierarchy @coarse.csv", "annotation",
            "integrated.h5ad reference.h5ad words.csv coarse.csv mosaic/config.json"),
    command("niche_program --input @integrated.h5ad --slice @a.slice.h5ad --slice @b.slice.h5ad "
            "--label-key cell_type --niche 16_Astro:0_Oligo", "niches",
            "integrated.h5ad a.slice.h5ad b.slice.h5ad"),
    command("complete --input @integrated.h5ad --cells @metagenes.cells.h5ad", "complete.h5ad",
            "metagenes.cells.h5ad integrated.h5ad"),
    command("viewer_files --input @integrated.h5ad", "viewer", "integrated.h5ad"),
    command("report --integrated @integrated.h5ad --metrics @metrics.csv "
            "--history @cae/history.csv --transforms @aligned/transforms.csv "
            "--versions @versions.yml --params @params.json "
            + " ".join(f"--input @{record}" for record in RECORDS.split()), "report.html",
            "integrated.h5ad metrics.csv cae/history.csv aligned/transforms.csv versions.yml "
            f"params.json {RECORDS}"),
)  # fmt: skip


def make(folder: Path, forms_alone: bool = False) -> None:
    """Write every seed into a folder, by running the stages; or a slice in all its forms alone."""
    for sample, source in (("a", "xenium"), ("b", "osmfish")):
        data = demo_slice(source)
        order = np.argsort(-np.asarray(data.X.sum(axis=0)).ravel(), kind="stable")[:40]
        data = data[: CELLS * 3 : 3, np.sort(order)].copy()
        data.write_h5ad(folder / f"{sample}.h5ad")
        if sample == "a":
            folders.write_all(data, folder)
        _stage("prepare_slice", folder, f"{sample}.slice.h5ad", input=f"@{sample}.h5ad",
               sample=sample, technology=source, label_key="cell_type")  # fmt: skip
    reference = demo_slice("reference")
    reference[:: len(reference) // CELLS, ::4].copy().write_h5ad(folder / "reference.h5ad")
    counts = pd.DataFrame(data.X.toarray().astype(int), data.obs_names, data.var_names)
    counts.to_csv(folder / "counts.csv")
    with gzip.open(folder / "counts.csv.gz", "wt") as handle:
        counts.to_csv(handle)
    pd.DataFrame(data.obsm["spatial"], data.obs_names).to_csv(folder / "places.csv")
    shutil.copy(ROOT / "assets/orthologs.csv.gz", folder)
    if forms_alone:
        return

    for s in ("a", "b"):
        slice_ = f"@{s}.slice.h5ad"
        _stage("build_graph", folder, f"{s}.graph.npz", input=slice_, neighbors=8)
        _stage("ot_sparsity", folder, f"{s}.targets.csv", input=slice_,
               reference="@reference.h5ad", min_shared_genes=3)  # fmt: skip
        _stage("propagate.impute", folder, f"{s}.imputed.h5ad", input=slice_,
               graph=f"@{s}.graph.npz", targets=f"@{s}.targets.csv")  # fmt: skip
        _stage("build_graph", folder, f"{s}.imputed.graph.npz", input=f"@{s}.imputed.h5ad")
        _stage("propagate.denoise", folder, f"{s}.denoised.h5ad", input=slice_,
               imputed=f"@{s}.imputed.h5ad", graph=f"@{s}.imputed.graph.npz")  # fmt: skip
    both = ["@a.denoised.h5ad", "@b.denoised.h5ad", "@reference.h5ad"]
    _stage("fit_mosaic", folder, "mosaic", input=both, rank=8, rounds=3)
    for s in ("a", "b"):
        _stage("mosaic_embed", folder, f"{s}.fp.h5ad", input=f"@{s}.denoised.h5ad",
               model="@mosaic")  # fmt: skip
    fp = ["@a.fp.h5ad", "@b.fp.h5ad"]
    _stage("train_cae", folder, "cae", input=fp, epochs=2, neighbors=5, latent_dim=8)
    for s in ("a", "b"):
        _stage("infer_cae", folder, f"{s}.lloki.h5ad", input=f"@{s}.fp.h5ad", model="@cae")
    both = ["@a.lloki.h5ad", "@b.lloki.h5ad"]
    _stage("align_plan", folder, "plan.csv", input=both)
    _stage("align_pairs", folder, "0.pairs.npz", input=both, plan="@plan.csv", chance_runs=2)
    _stage("align", folder, "aligned", input=both, pairs="@0.pairs.npz")
    _stage("integrate", folder, "integrated.h5ad", slice=["@a.slice.h5ad", "@b.slice.h5ad"],
           input=["@aligned/a.lloki.h5ad", "@aligned/b.lloki.h5ad"], n_pcs=5)  # fmt: skip

    genes = sorted({g.upper() for s in "ab" for g in ad.read_h5ad(folder / f"{s}.h5ad").var_names})
    write_checkpoint(folder / "checkpoint", genes, d=16)
    write_checkpoint(folder / "safe", genes, d=16, safetensors=True)
    (folder / "words.csv").write_text("label,to\n0_Oligo,Oligo\nOligodendrocyte MF,Oligo\n")
    (folder / "coarse.csv").write_text("fine,coarse\nOligo,Glia\n4_Astro,Glia\n")
    (folder / "sets.gmt").write_text("some\tof the panel\t" + "\t".join(genes[:12]) + "\n")
    _stage("metagenes", folder, "metagenes", input="@integrated.h5ad", k=3, iterations=3,
           cells="@metagenes.cells.h5ad", slice=["@a.slice.h5ad", "@b.slice.h5ad"])  # fmt: skip
    (folder / "metrics.csv").write_text(
        "embedding,metric,group,value\nX_lloki,iLISI,batch,0.31\nX_lloki_fp,iLISI,batch,0.02\n"
    )
    (folder / "versions.yml").write_text('"ALIGN":\n    lloki: "0.1.0"\n    python: "3.13.5"\n')
    (folder / "params.json").write_text('{"parameters": {"seed": 0, "metric": "cosine"}}\n')


def _stage(script: str, folder: Path, output: str, **options: object) -> None:
    """Run a stage on the seeds made so far."""
    script, _, subcommand = script.partition(".")
    words = [subcommand] if subcommand else []
    for name, value in options.items():
        for one in value if isinstance(value, list) else [value]:
            text = str(one)
            text = str(folder / text[1:]) if text.startswith("@") else text
            words += ["--" + name.replace("_", "-"), text]
    program = importlib.import_module(script).main
    program.main([*words, "--output", str(folder / output)], standalone_mode=False)
