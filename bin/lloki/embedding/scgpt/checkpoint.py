"""A scGPT checkpoint folder: args.json, vocab.json, and best_model.pt or model.safetensors."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lloki.support.checksum import sha256
from lloki.support.errors import InputError, lacks_memory

WEIGHTS = ("best_model.pt", "model.safetensors")
SPECIAL_TOKENS = ("<pad>", "<cls>", "<eoc>")
# Heads for training objectives; the embedding of a cell uses none of them.
HEADS = ("decoder.", "mvc_decoder.", "cls_decoder.", "flag_encoder.", "bn.")


@dataclass(frozen=True)
class Checkpoint:
    """What the encoder needs of a checkpoint; `weights` by the names of `expected_shapes`."""

    vocabulary: dict[str, int]
    weights: dict[str, Tensor]
    dim: int
    heads: int
    layers: int
    pad_value: float
    sha256: str


def read_checkpoint(folder: str | Path) -> Checkpoint:
    """Read a checkpoint folder, float32 on the CPU (the file stays on disk until rows are used).

    InputError names the file, and the key or the token in it, that is missing, unknown, of another
    shape or not finite: unlike the original loader this one never goes on with random weights.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(folder, "no such checkpoint folder", "give a folder with args.json in it")
    args = _read_args(folder / "args.json")
    vocabulary = _read_vocabulary(folder / "vocab.json")
    if args["pad_token"] not in vocabulary:
        raise InputError(
            folder / "args.json", f"pad_token {args['pad_token']!r} is not in vocab.json",
            "take both files from one checkpoint",
        )  # fmt: skip
    path = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if path is None:
        raise InputError(
            folder, f"it has neither {' nor '.join(WEIGHTS)}", "download the checkpoint again"
        )
    shapes = expected_shapes(len(vocabulary), args["embsize"], args["d_hid"], args["nlayers"])
    return Checkpoint(
        vocabulary=vocabulary,
        weights=_match(_read_tensors(path), shapes, path),
        dim=args["embsize"],
        heads=args["nheads"],
        layers=args["nlayers"],
        pad_value=float(args["pad_value"]),
        sha256=sha256(path),
    )


def expected_shapes(tokens: int, dim: int, hidden: int, layers: int) -> dict[str, tuple[int, ...]]:
    """Every tensor of the encoder, by PyTorch's names for the attention (in_proj_*), with shape."""
    shapes = {
        "encoder.embedding.weight": (tokens, dim),
        "encoder.enc_norm.weight": (dim,),
        "encoder.enc_norm.bias": (dim,),
        "value_encoder.linear1.weight": (dim, 1),
        "value_encoder.linear1.bias": (dim,),
        "value_encoder.linear2.weight": (dim, dim),
        "value_encoder.linear2.bias": (dim,),
        "value_encoder.norm.weight": (dim,),
        "value_encoder.norm.bias": (dim,),
    }
    layer = {
        "self_attn.in_proj_weight": (3 * dim, dim),
        "self_attn.in_proj_bias": (3 * dim,),
        "self_attn.out_proj.weight": (dim, dim),
        "self_attn.out_proj.bias": (dim,),
        "linear1.weight": (hidden, dim),
        "linear1.bias": (hidden,),
        "linear2.weight": (dim, hidden),
        "linear2.bias": (dim,),
        "norm1.weight": (dim,),
        "norm1.bias": (dim,),
        "norm2.weight": (dim,),
        "norm2.bias": (dim,),
    }
    for i in range(layers):
        shapes |= {f"transformer_encoder.layers.{i}.{key}": s for key, s in layer.items()}
    return shapes


def canonical(key: str) -> str:
    """The name of a tensor without flash-attention's spelling (Wqkv., self_attn._impl.)."""
    key = key.replace("self_attn._impl.", "self_attn.")
    return key.replace("self_attn.Wqkv.", "self_attn.in_proj_")


def _read_json(path: Path) -> dict:
    if not path.is_file():
        raise InputError(path, "no such file", "a checkpoint needs args.json and vocab.json")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(path, f"not readable JSON ({error})", "download it again") from None
    if not isinstance(content, dict):
        raise InputError(path, "it does not hold a JSON object", "download it again")
    return content


def _read_args(path: Path) -> dict:
    """args.json, with the settings that decide the encoder checked."""
    args = _read_json(path)
    for key in ("embsize", "nheads", "d_hid", "nlayers", "pad_token", "pad_value"):
        if key not in args:
            raise InputError(path, f"key {key!r} is missing", "take the checkpoint's own args.json")
    for key in ("embsize", "nheads", "d_hid", "nlayers"):
        if type(args[key]) is not int or args[key] < 1:
            raise InputError(path, f"{key} is {args[key]!r}", "give a positive whole number")
    if type(args["pad_value"]) not in (int, float):
        raise InputError(path, f"pad_value is {args['pad_value']!r}", "it has to be a number")
    if args["embsize"] % args["nheads"]:
        raise InputError(
            path, f"embsize {args['embsize']} is no multiple of nheads {args['nheads']}", "mend it"
        )
    return args


def _read_vocabulary(path: Path) -> dict[str, int]:
    """vocab.json: token to id 0, 1, ...; special tokens that are missing are appended in order."""
    vocabulary = _read_json(path)
    ids = list(vocabulary.values())
    if not ids or any(type(i) is not int for i in ids) or sorted(ids) != list(range(len(ids))):
        raise InputError(
            path, f"the ids of its {len(ids)} tokens are not the numbers from 0 up, each once",
            "take the checkpoint's own vocab.json",
        )  # fmt: skip
    for token in SPECIAL_TOKENS:
        vocabulary.setdefault(token, len(vocabulary))
    return vocabulary


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file; no code of a pickle is ever run."""
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old protocols: what is wrong is said below
            try:
                state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except RuntimeError:  # the format before PyTorch 1.6 cannot be mapped
                state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # PyTorch tells of damage by errors of many kinds
        if lacks_memory(error, path):
            raise
        reason = (str(error).strip() or type(error).__name__).split("\n")[0][:120]
        raise InputError(
            path,
            f"not a readable file of tensors ({reason})",
            "download it again, or save the state dict",
        ) from None
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise InputError(path, "it is not a flat dictionary of tensors", "save model.state_dict()")
    return state


def _match(tensors: dict[str, Tensor], shapes: dict[str, tuple], path: Path) -> dict[str, Tensor]:
    """The tensors the encoder needs, float32; InputError unless they are there one by one."""
    found: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        if key.startswith(HEADS):
            continue
        name = canonical(key)
        if name not in shapes or name in found:
            what = "occurs under two spellings" if name in found else "is not part of the encoder"
            raise InputError(
                path, f"key {key!r} {what}", "check nlayers in args.json, or remove the key"
            )
        if tuple(tensor.shape) != shapes[name]:
            raise InputError(
                path, f"key {key!r} has shape {tuple(tensor.shape)} instead of {shapes[name]}",
                "take args.json, vocab.json and weights from one checkpoint",
            )  # fmt: skip
        if not tensor.isfinite().all():
            raise InputError(path, f"key {key!r} has NaN or infinite values", "download it again")
        found[name] = tensor.float()
    for name in shapes:
        if name not in found:
            raise InputError(
                path, f"key {name!r} is missing",
                "take args.json, vocab.json and weights from one checkpoint",
            )  # fmt: skip
    return found
