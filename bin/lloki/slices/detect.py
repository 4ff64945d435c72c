"""Which form a slice's files have, told by what is there, and the one call that reads any of them.

functions/samplesheet.nf stages the few files that are read, by the same names; what they are is
decided here.
"""

from __future__ import annotations

import re
from pathlib import Path

from lloki.slices import cosmx, files, merscope, stores, tables, xenium
from lloki.slices.source import Source
from lloki.support.errors import InputError

INSTRUMENTS = {"xenium": "Xenium", "merscope": "MERSCOPE", "cosmx": "CosMx"}
FORMATS = ("h5ad", *INSTRUMENTS, "anndata", "spatialdata", "tables")
NAMES = {  # of files, by which a folder is told
    "xenium": re.compile(r"cell_feature_matrix(\.h5)?|experiment\.xenium"),
    "cosmx": re.compile(r".*exprMat_file\.csv(\.gz)?"),
    "merscope": re.compile(r".*cell_by_gene\.csv(\.gz)?"),
    "tables": re.compile(r"counts\.(csv|tsv|txt)(\.gz)?"),
}
TABLE = re.compile(r".*\.(csv|tsv|txt)(\.gz)?")
LOOKS = (
    "give an h5ad, a zarr store, a folder with counts.csv and coordinates.csv, or what an "
    "instrument wrote: Xenium (cell_feature_matrix.h5, cells.csv.gz), MERSCOPE (cell_by_gene.csv, "
    "cell_metadata.csv), CosMx (exprMat_file.csv, metadata_file.csv)"
)


def detect(path: Path) -> list[str]:
    """The forms (of FORMATS) that a file or folder has; none for one that is not known."""
    if path.is_file():
        if TABLE.fullmatch(path.name):
            return ["tables"]
        return ["xenium", "h5ad"] if path.suffix.lower() == ".h5" else ["h5ad"]
    if store := stores.store_format(path):
        return [store]
    return _by_names(path)


def _by_names(path: Path) -> list[str]:
    """The forms of a folder that is no store, by the names of its files."""
    names = [child.name for child in path.iterdir()]
    return [form for form, known in NAMES.items() if any(known.fullmatch(name) for name in names)]


def read(
    path: Path,
    form: str | None = None,
    region: str | None = None,
    fov: str | None = None,
    coordinates: Path | None = None,
    unit_um: float | None = None,
    keep_controls: bool = False,
) -> Source:
    """A slice in any form that is read.

    form: one of FORMATS, None to tell it by what is there; region: the subfolder of a run, or the
    table of a SpatialData store; fov: the fields of view, as `1-24 30`; coordinates: their table,
    where `path` is a file of counts; unit_um: micrometres in a coordinate unit, None: the form's
    own; keep_controls: an instrument's control features stay among the genes (elsewhere they are
    told by `evidence.sift`). InputError for what is missing or does not fit.
    """
    if not path.exists():
        raise InputError(path, "no such file or folder", "check the path")
    if region and form != "spatialdata" and path.is_dir() and not stores.store_format(path):
        if detect(path) and not (path / region).is_dir():
            raise InputError(path, f"{detect(path)[0]} has no regions", "leave region empty")
        path, region = _within(path, region), None
    found = detect(path)
    if not found and (regions := _regions(path)):
        path = _only(path, regions)
        found = detect(path)
    form = _chosen(path, found, form)
    if fov and form not in ("cosmx", "merscope"):
        raise InputError(path, f"{form} has no fields of view to choose", "leave fov empty")
    if region and form != "spatialdata":
        raise InputError(path, f"{form} has no regions", "leave region empty")
    if coordinates and form not in ("tables", "xenium"):
        raise InputError(path, f"{form} brings its coordinates", "leave out the table of them")
    source = _read(path, form, region, fov, coordinates, unit_um, keep_controls)
    if unit_um is not None:
        source.unit_um, source.unit_from = unit_um, "as given"
    return source


def _read(path: Path, form: str, region, fov, coordinates, unit_um, keep_controls) -> Source:
    """By the reader of a form."""
    if form == "xenium":
        if coordinates:
            return xenium.read_files(path, coordinates, None, keep_controls)
        if path.is_file():
            fact = "a matrix of Cell Ranger's form needs a table of cells"
            raise InputError(path, fact, "add --coordinates cells.csv.gz, or give the whole folder")
        return xenium.read(path, keep_controls)
    if form == "merscope":
        return merscope.read(path, fov, keep_controls)
    if form == "cosmx":
        return cosmx.read(path, fov, unit_um, keep_controls)
    if form in ("anndata", "spatialdata"):
        return stores.read(path, region)
    if form == "tables":
        pair = (path, coordinates) if coordinates else _pair(path)
        data, warnings = tables.read_tables(*pair)
        if unit_um is None and (told := tables.pixels(pair[1])):
            warnings.append(
                f"{told} are pixels, taken for micrometres: set spatial_unit_um (CosMx: 0.12028)"
            )
        return Source(data, form, [Path(p) for p in pair], warnings=warnings)
    return Source(files.read_h5ad(path, genes=False), form, [path])


def _chosen(path: Path, found: list[str], form: str | None) -> str:
    """The one form that is there; the one that is asked for, where it fits."""
    if form is None and (len(found) == 1 or path.is_file()):
        return found[0]
    if not found:
        raise InputError(path, "it is of no form that is known", LOOKS)
    if form is None:
        remedy = f"set the format ({', '.join(found)})"
        raise InputError(path, f"it has files of {' and of '.join(found)}", remedy)
    if form not in found:
        fact = f"it is {' or '.join(found)}, not {form}"
        raise InputError(path, fact, "mend the format, or leave it empty")
    return form


def _within(path: Path, region: str) -> Path:
    """The subfolder of a run that is meant."""
    if not (path / region).is_dir():
        have = ", ".join(sorted(p.name for p in path.iterdir() if p.is_dir())) or "none"
        raise InputError(path, f"it has no folder {region!r}", f"name one in region: {have}")
    return path / region


def _regions(path: Path) -> list[str]:
    """Subfolders that hold a slice: regions of a MERSCOPE run, Xenium bundles of a slide."""
    if not path.is_dir():
        return []
    return sorted(p.name for p in path.iterdir() if p.is_dir() and _by_names(p))


def _only(path: Path, regions: list[str]) -> Path:
    """The one region of a folder; InputError where there are several."""
    if len(regions) > 1:
        fact = f"a run of {len(regions)} regions ({', '.join(regions)})"
        raise InputError(path, fact, "name one in column region (--region)")
    return path / regions[0]


def _pair(path: Path) -> tuple[Path, Path]:
    """The two tables of a folder: counts.* and coordinates.*."""
    if not path.is_dir():
        raise InputError(path, "a table of counts needs coordinates", "add --coordinates TABLE")
    found = []
    for name in ("counts", "coordinates"):
        matches = sorted(
            p for p in path.iterdir()
            if re.fullmatch(rf"{name}\.(csv|tsv|txt)(\.gz)?", p.name)
        )  # fmt: skip
        if len(matches) != 1:
            fact = f"the folder has {len(matches)} tables named {name}.csv or {name}.tsv"
            raise InputError(path, fact, LOOKS)
        found.append(matches[0])
    return found[0], found[1]


def doubts(source: Source, technology: str) -> list[str]:
    """What a user should look at: a technology that is not that of the instrument's files."""
    known = INSTRUMENTS.get(source.format)
    others = {name.casefold() for form, name in INSTRUMENTS.items() if form != source.format}
    if known and technology.strip().casefold() in others:
        return [f"technology is {technology}, but the files are {known}'s"]
    return []


def control_rate(rates: dict[str, dict[str, float]]) -> float | None:
    """What `control_rates` gives for all controls together (None: there are none); no proteins."""
    controls = [found for kind, found in rates.items() if kind != xenium.PROTEINS]
    known = [found for found in controls if found["rate"] is not None]
    features = sum(found["features"] for found in known)
    return sum(found["rate"] * found["features"] for found in known) / features if known else None


def control_rates(source: Source) -> dict[str, dict[str, float]]:
    """Controls by class, with their counts a feature as a share of the genes' counts a feature."""
    if not source.controls:
        return {}
    among = [found for kind, found in source.controls.items() if kind != xenium.PROTEINS]
    among = among if source.facts.get("controls_kept") else []
    counts = float(source.data.X.sum()) - sum(found["counts"] for found in among)
    genes = counts / max(source.data.n_vars - sum(found["features"] for found in among), 1)
    return {
        kind: {**found, "rate": None if not genes or found["counts"] is None
               else found["counts"] / found["features"] / genes}
        for kind, found in source.controls.items()
    }  # fmt: skip
