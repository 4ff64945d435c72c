#!/usr/bin/env Rscript
# Seurat's integration by reciprocal PCA (Hao et al. 2021; Stuart et al. 2019).
#
# The functions of Seurat 4 (FindIntegrationAnchors, IntegrateData), which version 5 still has; a batch
# is a technology and panel. Reads the folder that join_shared.py wrote, writes METHOD.embedding.csv and
# its JSON as the other baselines do.

usage <- "baseline_seurat.R --input FOLDER --output CSV [--seed N]"

stop_for <- function(where, fact, remedy) {
  cat(sprintf("baseline: %s: %s; %s\n", where, fact, remedy), file = stderr())
  quit(status = 2)
}

read_options <- function() {
  given <- commandArgs(trailingOnly = TRUE)
  if (any(c("-h", "--help") %in% given)) {
    cat(usage, "\n")
    quit(status = 0)
  }
  options <- list(seed = "0")
  while (length(given)) {
    name <- sub("^--", "", given[1])
    if (!(name %in% c("input", "output", "seed")) || length(given) < 2) {
      stop_for("the command", paste("what is", given[1]), usage)
    }
    options[[name]] <- given[2]
    given <- given[-(1:2)]
  }
  for (name in c("input", "output")) {
    if (is.null(options[[name]])) stop_for("the command", paste0("--", name, " is missing"), usage)
  }
  options
}

read_shared <- function(folder) {
  for (name in c("cells.csv", "genes.csv", "expression.mtx")) {
    if (!file.exists(file.path(folder, name))) {
      stop_for(file.path(folder, name), "no such file", "make the folder with join_shared.py")
    }
  }
  text <- c(cell = "character", sample = "character", technology = "character", panel = "character",
            batch = "character")
  cells <- read.csv(file.path(folder, "cells.csv"), colClasses = text, na.strings = character())
  genes <- read.csv(file.path(folder, "genes.csv"), colClasses = "character", na.strings = character())
  # log-normalised already, as for every other method
  expression <- Matrix::t(as(Matrix::readMM(file.path(folder, "expression.mtx")), "CsparseMatrix"))
  dimnames(expression) <- list(make.unique(gsub("_", "-", genes$gene)), cells$cell)
  list(cells = cells, expression = expression)
}

integrate <- function(shared, seed) {
  batches <- split(seq_len(nrow(shared$cells)), shared$cells$batch)
  genes <- rownames(shared$expression)
  dimensions <- min(30, length(genes) - 1)
  objects <- lapply(batches, function(columns) {
    values <- shared$expression[, columns, drop = FALSE]
    object <- Seurat::CreateSeuratObject(values, min.cells = 0, min.features = 0)
    object <- Seurat::SetAssayData(object, "data", values)
    object <- Seurat::ScaleData(object, features = genes, verbose = FALSE)
    Seurat::RunPCA(object, features = genes, npcs = dimensions, approx = FALSE, verbose = FALSE, seed.use = seed)
  })
  smallest <- min(lengths(batches))
  anchors <- Seurat::FindIntegrationAnchors(
    objects, anchor.features = genes, reduction = "rpca", dims = seq_len(dimensions),
    k.filter = min(200, smallest - 1), k.score = min(30, smallest - 1), verbose = FALSE
  )
  whole <- Seurat::IntegrateData(
    anchors, dims = seq_len(dimensions), k.weight = min(100, smallest - 1), verbose = FALSE
  )
  whole <- Seurat::ScaleData(whole, features = genes, verbose = FALSE)
  whole <- Seurat::RunPCA(whole, features = genes, npcs = dimensions, approx = FALSE, verbose = FALSE, seed.use = seed)
  Seurat::Embeddings(whole, "pca")[shared$cells$cell, , drop = FALSE]
}

started <- proc.time()[["elapsed"]]
given <- read_options()
if (!requireNamespace("Seurat", quietly = TRUE)) {
  stop_for("Seurat", "the package is not installed here", "use containers, or apt-get install r-cran-seurat")
}
options(Seurat.object.assay.version = "v3", future.globals.maxSize = Inf)
suppressWarnings(suppressMessages({
  set.seed(as.integer(given$seed))
  shared <- read_shared(given$input)
  embedding <- integrate(shared, as.integer(given$seed))
}))
if (!all(is.finite(embedding))) stop_for("seurat", "the embedding has values that are not finite", "leave it out")
colnames(embedding) <- paste0("dim_", seq_len(ncol(embedding)))
table <- data.frame(cell = shared$cells$cell, signif(embedding, 6), check.names = FALSE)
temporary <- paste0(given$output, ".part")
write.csv(table, temporary, row.names = FALSE)
invisible(file.rename(temporary, given$output))
record <- list(
  stage = "baseline", method = "seurat", cells = nrow(embedding), dimensions = ncol(embedding),
  genes = nrow(shared$expression),
  cells_without_shared_genes = sum(Matrix::colSums(shared$expression != 0) == 0), device = "cpu",
  parameters = given, warnings = list(),
  seconds = round(proc.time()[["elapsed"]] - started, 3),
  versions = list(R = paste(R.version$major, R.version$minor, sep = "."),
                  Seurat = as.character(utils::packageVersion("Seurat")))
)
writeLines(jsonlite::toJSON(record, auto_unbox = TRUE, pretty = TRUE), sub("\\.csv$", ".json", given$output))
