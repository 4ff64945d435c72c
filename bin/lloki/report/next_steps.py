"""What a reader does after the report: commands that open, rerun or extend the run."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from lloki.report.material import Material
from lloki.report.run import results_folder

VIEWERS = {
    "xenium": "Xenium Explorer: open the slice, then Cells → Cell groups → upload {files} of "
    "viewer/{sample}/.",
    "merscope": "MERSCOPE Visualizer: File → Import Data → AnnData, viewer/{sample}/cells.h5ad.",
    "cosmx": "napari-cosmx: copy viewer/{sample}/_metadata.csv into the folder with images.",
}
GIVEN = ("input", "reference", "cell_type_key", "scgpt_checkpoint", "model", "add_to")


@dataclass(frozen=True)
class Step:
    """A thing to do: its title, words, code."""

    title: str
    words: str
    code: str = ""


def steps(material: Material) -> list[Step]:
    """Commands with the paths of this run."""
    given = material.parameters
    folder = str(given.get("outdir") or results_folder(material) or "results").rstrip("/")
    whole = f"{folder}/integrated.h5ad"
    start = _start(material.command)
    colour = material.label_key or "technology"
    return [
        Step(
            "Open in scanpy (Python)", "All cells, embeddings, labels and colours are in one file.",
            f'import scanpy as sc\n\ncells = sc.read_h5ad("{whole}")\n'
            f'sc.pl.umap(cells, color=["technology", "{colour}"])',
        ),
        Step(
            "Open in Seurat (R)", "Needs the R package hdf5r. An object of your own takes the "
            "embedding by the last lines, if its cells are named as here, sample:name.",
            seurat(folder, _matrix(material)),
        ),
        Step("Open in CELLxGENE", "In the browser, with the colours of this report.",
             f"cellxgene launch {shlex.quote(whole)}"),
        Step("Open in the instrument's viewer", _viewers(material)),
        Step("Run again with other settings", "Finished tasks are kept by -resume. All parameters "
             "of this run are in run.json and below, under Parameters.", _rerun(material, folder)),
        Step("Add a slice", "Without a new training; new.csv is a samplesheet of the new slices.",
             f"{start} --input new.csv --add_to {shlex.quote(folder)} "
             f"--outdir {shlex.quote(folder + '_added')}"),
        Step("Map new slices onto the model alone", "The slices of this run are left out.",
             f"{start} --input new.csv --model {shlex.quote(folder + '/model')} "
             f"--outdir {shlex.quote(folder + '_mapped')}"),
    ]  # fmt: skip


def _matrix(material: Material) -> str | None:
    """Which matrix of integrated.h5ad an R user begins with: counts, else X, if it has any."""
    expression = material.expression
    return expression and ("X" if expression.counts is None else "layers/counts")


def seurat(folder: str, matrix: str | None) -> str:
    """Lines of R that make a Seurat object of a run's cells; without a matrix: of the embedding."""
    if matrix is None:
        begin = ["# object: a Seurat object of these cells"]
    else:
        values = "values" if matrix == "layers/counts" else "CreateAssayObject(data = values)"
        begin = [
            "library(hdf5r)",
            "",
            f'file <- H5File$new("{folder}/integrated.h5ad", mode = "r")',
            'part <- function(...) file[[paste(..., sep = "/")]]$read()',
            'labels <- function(axis) part(axis, h5attr(file[[axis]], "_index"))',
            "column <- function(name) {",
            '  known <- part("obs", name, "categories")',
            '  factor(part("obs", name, "codes"), seq_along(known) - 1, known)',
            "}",
            "values <- Matrix::sparseMatrix(  # genes in rows, cells in columns",
            f'  i = part("{matrix}/indices"), p = part("{matrix}/indptr"),',
            f'  x = part("{matrix}/data"), index1 = FALSE,',
            '  dims = c(length(labels("var")), length(labels("obs"))),',
            '  dimnames = list(labels("var"), labels("obs"))',
            ")",
            "known <- data.frame(",
            '  sample = column("sample"), technology = column("technology"),',
            '  row.names = labels("obs")',
            ")",
            f"object <- CreateSeuratObject({values}, meta.data = known)",
        ]
    lines = [
        "library(Seurat)",
        *begin,
        "",
        f'embedding <- as.matrix(read.csv("{folder}/embedding.csv", row.names = 1))',
        'colnames(embedding) <- paste0("LLOKI_", seq_len(ncol(embedding)))',
        'object[["lloki"]] <- CreateDimReducObject(',
        '  embedding[colnames(object), ], key = "LLOKI_", assay = DefaultAssay(object)',
        ")",
    ]
    return "\n".join(lines)


def _start(command: str) -> str:
    """How a run of this pipeline begins: the folder and the profile of the run's own command."""
    folder, profile = re.search(r" run (?!-)(\S+)", command), re.search(r" -profile \S+", command)
    return f"nextflow run {folder[1] if folder else '.'}{profile[0] if profile else ''}"


def _viewers(material: Material) -> str:
    """How the files for the viewers are opened, of the first slice of each form."""
    said = {}
    for record in material.of_stage("viewer_files"):
        formats, made = record.get("formats"), record.get("files")
        for sample, form in formats.items() if isinstance(formats, dict) else ():
            names = made.get(sample, []) if isinstance(made, dict) else []
            files = ", ".join(str(name) for name in names if name != "cells.csv")
            if form in VIEWERS:
                said.setdefault(form, VIEWERS[form].format(sample=sample, files=files))
    said["any"] = "Anything else: viewer/<slice>/cells.csv has labels, clusters and UMAP by cell."
    return " ".join(said.values())


def _rerun(material: Material, folder: str) -> str:
    """The run's own command, or one with what was given."""
    if material.command:
        return f"{material.command} \\\n    --overwrite"
    given = material.parameters
    options = [
        f"--{name} {shlex.quote(str(given[name]))}" for name in GIVEN if given.get(name)
    ]  # fmt: skip
    return " \\\n    ".join(
        ["nextflow run .", *options, f"--outdir {shlex.quote(folder)}", "--overwrite -resume"]
    )
