#!/usr/bin/env Rscript
# Labels carried over by Seurat (Stuart et al. 2019) with its defaults: run_seurat_transfer.R FOLDER.
#
# FOLDER has reference.mtx and slice.mtx (counts, cells x shared genes) and labels.txt (a number a cell of the
# reference); out.csv, which it writes, has a column for each of those: scores of the slice's cells.

folder <- commandArgs(trailingOnly = TRUE)[1]

read <- function(name) {
  counts <- Matrix::t(as(Matrix::readMM(file.path(folder, paste0(name, ".mtx"))), "CsparseMatrix"))
  dimnames(counts) <- list(paste0("g", seq_len(nrow(counts))), paste0(name, seq_len(ncol(counts))))
  Seurat::NormalizeData(Seurat::CreateSeuratObject(counts), verbose = FALSE)
}

reference <- read("reference")
slice <- read("slice")
labels <- scan(file.path(folder, "labels.txt"), what = "", quiet = TRUE)
genes <- rownames(reference)
dimensions <- seq_len(min(30, length(genes) - 1))
reference <- Seurat::ScaleData(reference, features = genes, verbose = FALSE)
anchors <- Seurat::FindTransferAnchors(reference, slice, features = genes, dims = dimensions,
                                       npcs = max(dimensions), verbose = FALSE)
found <- Seurat::TransferData(anchors, labels, dims = dimensions, verbose = FALSE)
scores <- sapply(unique(labels), function(label) {
  found[[make.names(paste0("prediction.score.", label))]]
})
write.csv(scores, file.path(folder, "out.csv"), row.names = FALSE)
