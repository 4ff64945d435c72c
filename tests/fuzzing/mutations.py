"""Ways to spoil a file: its bytes, its text, or what it holds (HDF5, npz, JSON, tables)."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

Random = np.random.Generator
VALUES = (
    "", "nan", "inf", "-inf", "-1", "0", "1e308", "9" * 30, "0.5", "True", "\x00", "naïve 🧬",
    "NA", "1e400", "18446744073709551616", "9223372036854775807", "1_000", "0x10", "1,5", '"a""b"',
    "../../escape", "/etc/passwd", "=cmd()", "<script>", '"', ",", "null", "a" * 5000,
)  # fmt: skip


def mutate(path: Path, random: Random) -> str:
    """Spoil a file in place by one way or two; their names."""
    done = []
    for _ in range(1 if random.random() < 0.7 else 2):
        if not path.stat().st_size:
            append(path, random)
        ways = [*BYTES, *STRUCTURE.get(_kind(path), ())]
        way = ways[random.integers(len(ways))] if random.random() < 0.3 else None
        if way is None:  # mostly what a kind of file has of its own: bytes are soon refused
            own = STRUCTURE.get(_kind(path)) or BYTES
            way = own[random.integers(len(own))]
        try:
            way(path, random)
        except Exception:  # what the first way left cannot be spoilt in the second one
            if not done:
                raise
        done.append(way.__name__)
    return "+".join(done)


def mutate_folder(path: Path, files: list[Path], random: Random) -> str:
    """Spoil the place of a file among the files of its folder; the name of the way."""
    way = FOLDER[random.integers(len(FOLDER))]
    way(path, files, random)
    return way.__name__


def _kind(path: Path) -> str:
    """The ending of a file, by which `STRUCTURE` goes."""
    if path.name in (".zarray", ".zattrs", ".zgroup", ".zmetadata") or path.suffix == ".xenium":
        return ".json"
    if path.name.endswith(".mtx.gz"):
        return ".mtx.gz"
    return {".h5": ".h5ad"}.get(path.suffix, path.suffix)


def truncate(path: Path, random: Random) -> None:
    """Only the first part is left; sometimes nothing."""
    size = path.stat().st_size
    os.truncate(path, 0 if random.random() < 0.1 else int(random.integers(size)))


def flip_bytes(path: Path, random: Random) -> None:
    """Up to 20 bytes become others."""
    data = bytearray(path.read_bytes())
    for place in random.integers(len(data), size=random.integers(1, 20)):
        data[place] = random.integers(256)
    path.write_bytes(data)


def flip_head(path: Path, random: Random) -> None:
    """A few of the first bytes, where formats keep what they are."""
    data = bytearray(path.read_bytes())
    for place in random.integers(min(len(data), 2048), size=random.integers(1, 6)):
        data[place] ^= 1 << random.integers(8)
    path.write_bytes(data)


def zero_block(path: Path, random: Random) -> None:
    """A block of zeros, as a lost disk block or a sparse copy leaves it."""
    data = bytearray(path.read_bytes())
    start, length = int(random.integers(len(data))), int(random.integers(1, 4096))
    data[start : start + length] = bytes(len(data[start : start + length]))
    path.write_bytes(data)


def cut_block(path: Path, random: Random) -> None:
    """A block is missing."""
    data = path.read_bytes()
    start = int(random.integers(len(data)))
    path.write_bytes(data[:start] + data[start + int(random.integers(1, 512)) :])


def append(path: Path, random: Random) -> None:
    """Something follows the end."""
    path.write_bytes(path.read_bytes() + random.bytes(int(random.integers(1, 600))))


def other_kind(path: Path, random: Random) -> None:
    """Something else altogether under this name."""
    kinds = (b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"%PDF-1.7", b"<html>404</html>", b"\x00" * 999,
             b"version https://git-lfs.github.com/spec/v1\noid sha256\n", b"\xff\xfe")  # fmt: skip
    path.write_bytes(kinds[random.integers(len(kinds))])


def evil_pickle(path: Path, random: Random) -> None:
    """A pickle that leaves a file beside it when it is run."""
    mark = str(path.parent / "EXECUTED")

    class Evil:
        def __reduce__(self):
            return (os.system, (f"touch '{mark}'",))

    protocol = int(random.integers(0, 5))
    text = pickle.dumps({"model": Evil()} if random.random() < 0.5 else Evil(), protocol)
    if path.suffix == ".npz" or random.random() < 0.3:
        with zipfile.ZipFile(path, "w") as archive:
            if path.suffix == ".npz":
                header = io.BytesIO()
                np.lib.format.write_array_header_1_0(
                    header, {"descr": "|O", "fortran_order": False, "shape": (1,)}
                )
                archive.writestr("format.npy", header.getvalue() + text)
            else:
                archive.writestr("archive/data.pkl", text)
                archive.writestr("archive/version", "3\n")
    else:
        path.write_bytes(text)


# --- text


def _lines(change: Callable[[list[str], Random], None]) -> Callable[[Path, Random], None]:
    """A way that edits the lines of a file, gzipped or not."""

    def way(path: Path, random: Random) -> None:
        packed = path.suffix == ".gz"
        data = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
        lines = data.decode("utf-8", "replace").split("\n")
        change(lines, random)
        data = "\n".join(lines).encode("utf-8", "replace")
        path.write_bytes(gzip.compress(data, mtime=0) if packed else data)

    way.__name__ = change.__name__
    return way


@_lines
def change_field(lines: list[str], random: Random) -> None:
    """A field of a line becomes an odd value."""
    for _ in range(random.integers(1, 4)):
        row = int(random.integers(len(lines)))
        fields = lines[row].split(",")
        fields[random.integers(len(fields))] = VALUES[random.integers(len(VALUES))]
        lines[row] = ",".join(fields)


@_lines
def drop_field(lines: list[str], random: Random) -> None:
    """A field is missing, in a line or in all."""
    place = int(random.integers(4))
    rows = range(len(lines)) if random.random() < 0.5 else [int(random.integers(len(lines)))]
    for row in rows:
        fields = lines[row].split(",")
        del fields[place : place + 1]
        lines[row] = ",".join(fields)


@_lines
def double_line(lines: list[str], random: Random) -> None:
    """A line is there twice."""
    row = int(random.integers(len(lines)))
    lines.insert(row, lines[row])


@_lines
def drop_lines(lines: list[str], random: Random) -> None:
    """Some lines are missing, perhaps all but the first."""
    start = int(random.integers(len(lines)))
    del lines[start : start + int(random.integers(1, len(lines) + 1))]


@_lines
def swap_lines(lines: list[str], random: Random) -> None:
    """Two lines change places."""
    a, b = random.integers(len(lines), size=2)
    lines[a], lines[b] = lines[b], lines[a]


@_lines
def odd_text(lines: list[str], random: Random) -> None:
    """Odd characters within a line."""
    row = int(random.integers(len(lines)))
    place = int(random.integers(len(lines[row]) + 1))
    word = VALUES[random.integers(len(VALUES))]
    lines[row] = lines[row][:place] + word + lines[row][place:]


def _columns(change: Callable[[list[list[str]], Random], None]) -> Callable[[Path, Random], None]:
    """A way that edits a table as a list of its columns, each with its name first."""

    def edit(lines: list[str], random: Random) -> None:
        notes = [line for line in lines if line.startswith("#")]
        rows = [line for line in lines if line and not line.startswith("#")]
        between = "\t" if rows[0].count("\t") > rows[0].count(",") else ","
        columns = [list(c) for c in zip(*(row.split(between) for row in rows), strict=False)]
        change(columns, random)
        rows = [between.join(row) for row in zip(*columns, strict=True)]
        lines[:] = [*notes, *rows, ""]

    edit.__name__ = change.__name__
    return _lines(edit)


@_columns
def drop_column(columns: list[list[str]], random: Random) -> None:
    """A column is missing."""
    del columns[random.integers(len(columns))]


@_columns
def rename_column(columns: list[list[str]], random: Random) -> None:
    """A column is called something else, perhaps as another one is."""
    others = [column[0] for column in columns]
    names = (*others, *VALUES, "fov", "cell_ID", "cell", "x_centroid", "Blank-7", "Negative9")
    columns[random.integers(min(len(columns), 12))][0] = _one(names, random)


@_columns
def reorder_columns(columns: list[list[str]], random: Random) -> None:
    """The same columns in another order."""
    columns[:] = [columns[i] for i in random.permutation(len(columns))]


@_columns
def double_column(columns: list[list[str]], random: Random) -> None:
    """A column is there twice."""
    columns.append(list(_one(columns, random)))


@_columns
def change_column(columns: list[list[str]], random: Random) -> None:
    """A column holds one odd value throughout."""
    column, value = columns[random.integers(min(len(columns), 12))], _one(VALUES, random)
    column[1:] = [value] * (len(column) - 1)


@_columns
def repeat_ids(columns: list[list[str]], random: Random) -> None:
    """Some cells have another one's name, or all have, as rounding makes it."""
    ids = columns[0]
    step = int(random.integers(2, 9))
    ids[1:] = [ids[1 + i - i % step] for i in range(len(ids) - 1)]


@_columns
def quote(columns: list[list[str]], random: Random) -> None:
    """Quotes around all fields, as R writes them, or around some."""
    for column in columns:
        if random.random() < 0.7:
            column[:] = [f'"{field}"' for field in column]


def other_text(path: Path, random: Random) -> None:
    """The same text with other line ends, separators, encoding, or packed once more."""
    data = path.read_bytes()
    packed = path.suffix == ".gz"
    data = gzip.decompress(data) if packed else data
    choice = random.integers(6)
    if choice == 0:
        data = data.replace(b"\n", b"\r\n")
    elif choice == 1:
        data = data.replace(b"\n", b"\r")
    elif choice == 2:
        data = data.replace(b",", b";")
    elif choice == 3:
        data = data.decode("utf-8", "replace").encode("utf-16")
    elif choice == 4:
        data = b"\xef\xbb\xbf" + data.replace(b"\n", b"\n\n")
    else:
        data, packed = gzip.compress(data, mtime=0), True
    path.write_bytes(gzip.compress(data, mtime=0) if packed else data)


@_lines
def matrix_header(lines: list[str], random: Random) -> None:
    """A matrix of Matrix Market's form whose header or size line says something else."""
    size = next(i for i, line in enumerate(lines) if not line.startswith("%"))
    choice = random.integers(4)
    if choice == 0:
        words = "array complex pattern integer real symmetric hermitian skew-symmetric vector x"
        fields = lines[0].split()
        fields[random.integers(len(fields))] = _one(words.split(), random)
        lines[0] = " ".join(fields)
    elif choice == 1:
        sizes = (0, -1, 10**6, 10**9, 10**12, 2**31, 2**63, 1, "x", "")
        fields = lines[size].split()
        fields[random.integers(len(fields))] = str(_one(sizes, random))
        lines[size] = " ".join(fields)
    elif choice == 2:
        row = int(random.integers(size + 1, len(lines)))
        fields = lines[row].split() or ["1"]
        fields[random.integers(len(fields))] = str(_one((0, -1, 10**6, 2**31, "nan", 0.5), random))
        lines[row] = " ".join(fields)
    else:
        lines[size:size] = ["%"] * int(random.integers(1, 4))


def latin1(path: Path, random: Random) -> None:
    """Bytes that are not UTF-8."""
    data = path.read_bytes()
    place = int(random.integers(len(data) + 1))
    path.write_bytes(data[:place] + b"\xe9\xff\x80" + data[place:])


# --- JSON


def change_json(path: Path, random: Random) -> None:
    """A value anywhere becomes another, or is missing."""
    content = json.loads(path.read_text())
    holder = content
    key = None
    for _ in range(int(random.integers(1, 6))):
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        if not keys:
            break
        key = keys[random.integers(len(keys))]
        if not isinstance(holder[key], (dict, list)) or random.random() < 0.4:
            break
        holder, key = holder[key], None
    odd = (None, -1, 0, 1e308, 10**12, float("nan"), "", "x", [], {}, True, [[1]], 2**70, 1.5)
    if key is None or random.random() < 0.05:
        content = odd[random.integers(len(odd))]
    elif random.random() < 0.3:
        del holder[key]
    else:
        holder[key] = odd[random.integers(len(odd))]
    path.write_text(json.dumps(content))


def deep_json(path: Path, random: Random) -> None:
    """Lists in lists, more than a reader goes into."""
    path.write_text("[" * 100_000 + "]" * int(random.integers(100_000)))


# --- HDF5


def _nodes(file: h5py.File, kind: type) -> list:
    found: list = []
    file.visititems(lambda _name, node: found.append(node) if isinstance(node, kind) else None)
    return sorted(found, key=lambda node: node.name)


def _one(items: list, random: Random):
    return items[random.integers(len(items))]


def h5_delete(path: Path, random: Random) -> None:
    """A group or a dataset is missing."""
    with h5py.File(path, "r+") as file:
        node = _one(_nodes(file, (h5py.Dataset, h5py.Group)), random)
        del file[node.name]


def h5_values(path: Path, random: Random) -> None:
    """Some values of a dataset become odd ones."""
    odd = (np.nan, np.inf, -1, 0, 2**31 - 1, -(2**31), 1e300, 0.5, 10**9)
    with h5py.File(path, "r+") as file:
        numbers = [d for d in _nodes(file, h5py.Dataset) if d.dtype.kind in "iuf" and d.size]
        node = _one(numbers, random)
        values = node[()]
        flat = np.atleast_1d(values).ravel()
        places = random.integers(flat.size, size=int(random.integers(1, 5)))
        with np.errstate(all="ignore"):
            value = np.array(_one(odd, random)).astype(flat.dtype)
        flat[places] = value
        node[()] = flat.reshape(np.shape(values))


def h5_replace(path: Path, random: Random) -> None:
    """A dataset of another shape, length or type."""
    with h5py.File(path, "r+") as file:
        node = _one(_nodes(file, h5py.Dataset), random)
        name, attributes, kind = node.name, dict(node.attrs), node.dtype
        values = node[()]
        choice = random.integers(6)
        if choice == 0:
            new = np.atleast_1d(values)[:-1]
        elif choice == 1:
            new = np.concatenate([np.atleast_1d(values)] * 2)
        elif choice == 2:
            new = np.zeros((3, 0, 2))
        elif choice == 3:
            new = np.array([b"text"] * max(np.size(values), 1))
        elif choice == 4:
            new = np.atleast_1d(values)[None]
        else:
            new = np.arange(np.size(values), dtype=np.int8) - 5
        del file[name]
        file.create_dataset(name, data=new, dtype=kind if new.dtype == object else None)
        file[name].attrs.update(attributes)


def h5_attribute(path: Path, random: Random) -> None:
    """An attribute is missing or odd: the encoding, the shape, the order of columns."""
    odd = (
        "",
        "csr_matrix",
        "dataframe",
        "awkward-array",
        "9.9.9",
        -1,
        np.array([10**12, 10**12]),
        np.array([-1, 3]),
        np.array([1.5]),
        "../x",
        np.array([0, 0]),
        np.array(["a", "b"], "S1"),
    )
    with h5py.File(path, "r+") as file:
        nodes = [file, *_nodes(file, (h5py.Dataset, h5py.Group))]
        node = _one([n for n in nodes if len(n.attrs)] or nodes, random)
        key = _one(sorted(node.attrs) or ["encoding-type"], random)
        if random.random() < 0.3 and key in node.attrs:
            del node.attrs[key]
        else:
            node.attrs[key] = _one(odd, random)


def h5_huge(path: Path, random: Random) -> None:
    """A dataset that claims to be huge, with next to nothing in the file."""
    with h5py.File(path, "r+") as file:
        node = _one(_nodes(file, h5py.Dataset), random)
        name, attributes = node.name, dict(node.attrs)
        rank = max(node.ndim, 1)
        kind = node.dtype if node.dtype.kind in "iuf" else np.dtype("i4")
        del file[name]
        shape = (int(10 ** random.uniform(8, 14)),) + (2,) * (rank - 1)
        file.create_dataset(name, shape, kind, chunks=(1024,) + (2,) * (rank - 1))
        file[name].attrs.update(attributes)


def h5_link(path: Path, random: Random) -> None:
    """A link in place of a node: to another file, to nothing, to its own parent."""
    with h5py.File(path, "r+") as file:
        node = _one(_nodes(file, (h5py.Dataset, h5py.Group)), random)
        name = node.name
        del file[name]
        file[name] = _one(
            [
                h5py.ExternalLink("/etc/passwd", "/"),
                h5py.SoftLink("/nowhere"),
                h5py.SoftLink("/"),
                h5py.ExternalLink("../a.h5ad", "/X"),
            ],
            random,
        )


def h5_external(path: Path, random: Random) -> None:
    """A dataset whose values lie in another file."""
    with h5py.File(path, "r+") as file:
        node = _one([d for d in _nodes(file, h5py.Dataset) if d.dtype.kind in "iuf" and d.ndim],
                    random)  # fmt: skip
        name, attributes, shape, kind = node.name, dict(node.attrs), node.shape, node.dtype
        del file[name]
        file.create_dataset(name, shape, kind, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])
        file[name].attrs.update(attributes)


# --- parquet


def change_parquet(path: Path, random: Random) -> None:
    """A column is missing, renamed, doubled, of another type, or without values; rows repeat."""
    import pandas as pd

    table = pd.read_parquet(path)
    column = _one(list(table), random)
    choice = random.integers(7)
    if choice == 0:
        del table[column]
    elif choice == 1:
        table = table.rename(columns={column: _one(["x", "", *table], random) + "'"})
    elif choice == 2:
        table[column] = _one([np.nan, None, "", "text", 1e308, -1, True, b"\xff"], random)
    elif choice == 3:
        table[column] = table[column].astype(str).str.encode("utf-8")
    elif choice == 4:
        table = pd.concat([table, table[: int(random.integers(1, 20))]])
    elif choice == 5:
        table = table.set_index(column)
    else:
        table = table[:0]
    table.to_parquet(path)


# --- files of a folder


def remove(path: Path, files: list[Path], random: Random) -> None:
    """A file is missing."""
    path.unlink()


def loop(path: Path, files: list[Path], random: Random) -> None:
    """A link that leads to itself."""
    path.unlink()
    path.symlink_to(path.name)


def dangle(path: Path, files: list[Path], random: Random) -> None:
    """A link that leads nowhere, or to the folder itself."""
    path.unlink()
    path.symlink_to(_one(["nowhere", ".", "/etc/passwd", "/dev/null"], random))


def folder_instead(path: Path, files: list[Path], random: Random) -> None:
    """A folder where a file should be."""
    path.unlink()
    path.mkdir()


def other_file(path: Path, files: list[Path], random: Random) -> None:
    """Another file of the slice under this name."""
    other = _one(files, random)
    path.unlink()
    os.link(other, path) if other != path else path.touch()


def empty(path: Path, files: list[Path], random: Random) -> None:
    """A file without a byte."""
    path.unlink()
    path.touch()


def twice(path: Path, files: list[Path], random: Random) -> None:
    """A file of the same ending, or of another instrument, beside it."""
    names = ("copy_" + path.name, "S2_exprMat_file.csv", "cell_by_gene.csv", "counts.csv",
             "cell_feature_matrix.h5", "zarr.json", ".zgroup", "tables")  # fmt: skip
    other = path.with_name(_one(names, random))
    if not other.exists():
        os.link(path, other)


# --- npz and safetensors


def npz_array(path: Path, random: Random) -> None:
    """An array is missing or of another length; of a sparse matrix, it points nowhere, too."""
    with np.load(path) as archive:
        arrays = dict(archive)
    name = _one(sorted(arrays), random)
    value = arrays[name]
    choice = random.integers(6 if "indices" in arrays else 2)
    if choice == 0:
        del arrays[name]
    elif choice == 1:
        arrays[name] = value[:-1] if value.ndim else np.array(b"dia")
    elif choice == 2:
        odd = np.array(_one([2**31 - 1, -5, 10**6, -(2**31)], random))
        arrays["indices"] = arrays["indices"].copy()
        arrays["indices"][random.integers(len(arrays["indices"]), size=3)] = odd
    elif choice == 3:
        arrays["indptr"] = random.permutation(arrays["indptr"])
    elif choice == 4:
        arrays["data"] = arrays["data"] * np.float32(_one([np.nan, np.inf, -1.0], random))
    else:
        arrays["shape"] = np.array(_one([[10**9, 10**9], [-1, 60], [60], [60, 61], [0, 0]], random))
    np.savez(path, **arrays)


def safetensors_header(path: Path, random: Random) -> None:
    """The header says something else: shape, type, place, name, or its own length."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    name = _one(sorted(n for n in header if n != "__metadata__"), random)
    entry = header[name]
    odd = (
        ("shape", [10**9, 10**9]), ("shape", []), ("shape", [-1]), ("dtype", "I8"),
        ("dtype", "F16"), ("dtype", "X9"), ("data_offsets", [0, 10**12]), ("data_offsets", [4, 0]),
    )  # fmt: skip
    choice = random.integers(len(odd) + 2)
    if choice < len(odd):
        entry.update([odd[choice]])
    elif choice == len(odd):
        header["../../" + name] = header.pop(name)
    else:
        length = int(random.integers(2**40))
    text = json.dumps(header).encode()
    start = len(text) if choice <= len(odd) else length
    path.write_bytes(start.to_bytes(8, "little") + text + data[8 + length :])


BYTES = (truncate, flip_bytes, flip_head, zero_block, cut_block, append, other_kind, evil_pickle)
TEXT = (change_field, drop_field, double_line, drop_lines, swap_lines, odd_text, drop_column,
        rename_column, reorder_columns, double_column, change_column, repeat_ids, quote,
        other_text, latin1)  # fmt: skip
FOLDER = (remove, loop, dangle, folder_instead, other_file, empty, twice)
STRUCTURE = {
    ".h5ad": (h5_delete, h5_values, h5_values, h5_replace, h5_attribute, h5_attribute, h5_huge,
              h5_link, h5_external),
    ".npz": (npz_array,),
    ".csv": TEXT,
    ".gz": TEXT[:-1],
    ".mtx.gz": (matrix_header, matrix_header, *TEXT[:6]),
    ".parquet": (change_parquet,),
    ".yml": TEXT,
    ".json": (change_json, change_json, change_json, deep_json, odd_text, latin1),
    ".safetensors": (safetensors_header,),
    ".pt": (flip_bytes, evil_pickle),
}  # fmt: skip
