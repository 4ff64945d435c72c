#!/usr/bin/env Rscript
# A slice mapped onto a reference by Seurat (Hao et al. 2021) with its defaults: run_seurat_map.R FOLDER.
#
# FOLDER has reference.mtx and slice.mtx (counts, cells x genes) and their genes, reference.txt and slice.txt, a gene
# of both under one name. out.csv, which it writes, has the slice's cells in the reference's 30 principal components.

folder <- commandArgs(trailingOnly = TRUE)[1]

read <- function(name) {
  counts <- Matrix::t(as(Matrix::readMM(file.path(folder, paste0(name, ".mtx"))), "CsparseMatrix"))
  genes <- scan(file.path(folder, paste0(name, ".txt")), what = "", quiet = TRUE)
  dimnames(counts) <- list(genes, paste0(name, seq_len(ncol(counts))))
  Seurat::NormalizeData(Seurat::CreateSeuratObject(counts), verbose = FALSE)
}

reference <- read("reference")
slice <- read("slice")
reference <- Seurat::ScaleData(reference, features = rownames(reference), verbose = FALSE)
reference <- Seurat::RunPCA(reference, features = rownames(reference), npcs = 30, verbose = FALSE)
shared <- intersect(rownames(reference), rownames(slice))
anchors <- Seurat::FindTransferAnchors(reference, slice, features = shared, reference.reduction = "pca",
                                       dims = 1:30, verbose = FALSE)
mapped <- Seurat::IntegrateEmbeddings(anchors, reference, slice, new.reduction.name = "mapped", verbose = FALSE)
write.csv(SeuratObject::Embeddings(mapped, "mapped"), file.path(folder, "out.csv"), row.names = FALSE)
