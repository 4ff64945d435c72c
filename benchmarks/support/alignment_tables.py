"""What benchmarks/alignment.py prints and draws of its runs."""

import pandas as pd

KNOWN = ("slice", "share", "repeat", "crop", "mirror", "degrees", "um")


def summaries(found: pd.DataFrame) -> None:
    """Print the tables."""
    if "slice" in found:
        known = found[found["slice"].notna()].copy()
        known["good"] = (known["degrees"] < 5) & (known["um"] < 50)
        print("\nruns below 5 degrees and 50 µm")
        print(known.pivot_table("good", ["slice", "method"], "share", sort=False).round(2))
        for value in ("degrees", "um"):
            print(f"\nmedian {value} (of the runs that gave a motion)")
            table = known.pivot_table(
                value, ["slice", "method"], "share", aggfunc="median", sort=False
            )
            print(table.round(1))
        print(known.groupby("method", sort=False)["good"].agg(["mean", "size"]).round(3))
        print(known.groupby("method", sort=False)["seconds"].median().round(1))
    if "pair" in found:
        unknown = found[found["pair"].notna()]
        print(unknown.drop(columns=[c for c in KNOWN if c in unknown]).round(3).to_string())


def draw(found: pd.DataFrame, path: str) -> None:
    """Mean distance of cells from their true places by share of shared genes, slice by slice."""
    import matplotlib
    import matplotlib.figure

    from lloki.report import figures

    known = found[found["um"].notna()]
    names = list(dict.fromkeys(known["slice"]))
    with matplotlib.rc_context(figures.STYLE):
        drawn = matplotlib.figure.Figure(figsize=(2.6 * len(names), 3.2), layout="constrained")
        grid = drawn.subplots(1, len(names), sharey=True, squeeze=False)[0]
        for axes, name in zip(grid, names, strict=True):
            for k, (method, rows) in enumerate(known.groupby("method", sort=False)):
                rows = rows[rows["slice"] == name]
                middle = rows.groupby("share")["um"].median()
                axes.plot(middle.index, middle, color=figures.PALETTE[k], lw=1.8, label=method)
                axes.scatter(rows["share"], rows["um"], color=figures.PALETTE[k], s=9, alpha=0.6)
            axes.axhline(50, color=figures.GREY, lw=1, zorder=0)
            axes.set(title=name, yscale="log", xlabel="shared genes, %")
            axes.invert_xaxis()
            axes.spines[["top", "right"]].set_visible(False)
        grid[0].set_ylabel("distance from the true place, µm")
        handles, labels = grid[0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)
        drawn.savefig(path, dpi=130, facecolor="white")
