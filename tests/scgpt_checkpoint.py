"""A small random checkpoint in scGPT's official layout, for tests."""

import json
from pathlib import Path

import torch

SPECIAL = ("<pad>", "<cls>", "<eoc>")


def write_checkpoint(
    folder: Path,
    genes: list[str],
    seed: int = 0,
    layers: int = 2,
    d: int = 64,
    heads: int = 4,
    naming: str = "Wqkv.",
    *,
    specials: bool = True,
    hidden: int | None = None,
    safetensors: bool = False,
    **changes: object,
) -> Path:
    """Write args.json, vocab.json and weights; return the folder.

    `naming` spells the attention's tensors: "Wqkv.", "in_proj_" or "_impl.Wqkv.". Without
    `specials` vocab.json lacks the special tokens, which the weights have. `changes` are for
    args.json.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    hidden = hidden or d
    draw = torch.Generator().manual_seed(seed)
    tokens = [*genes, *SPECIAL]
    order = torch.randperm(len(tokens), generator=draw).tolist()  # the official file is not sorted
    names = [(tokens[i], i) for i in order if specials or i < len(genes)]
    (folder / "vocab.json").write_text(json.dumps(dict(names)))
    args = {
        "embsize": d, "nheads": heads, "d_hid": hidden, "nlayers": layers, "n_layers_cls": 3,
        "dropout": 0.2, "pad_token": "<pad>", "pad_value": -2, "mask_value": -1, "n_bins": 51,
        "max_seq_len": 1200, "input_style": "binned", "input_emb_style": "continuous",
    }  # fmt: skip
    (folder / "args.json").write_text(json.dumps(args | changes))
    state = random_state(len(tokens), layers, d, hidden, naming, draw)
    if safetensors:
        from safetensors.torch import save_file

        save_file(state, folder / "model.safetensors")
    else:
        torch.save(state, folder / "best_model.pt")
    return folder


def random_state(
    tokens: int, layers: int, d: int, hidden: int, naming: str, draw: torch.Generator
) -> dict[str, torch.Tensor]:
    """The tensors of the official file, its training heads included, drawn at random."""
    state: dict[str, torch.Tensor] = {}

    def linear(name: str, out: int, into: int, bias: bool = True, join: str = ".") -> None:
        state[f"{name}{join}weight"] = torch.randn(out, into, generator=draw) * into**-0.5
        if bias:
            state[f"{name}{join}bias"] = torch.randn(out, generator=draw) * 0.1

    def norm(name: str) -> None:
        state[f"{name}.weight"] = 1 + torch.randn(d, generator=draw) * 0.1
        state[f"{name}.bias"] = torch.randn(d, generator=draw) * 0.1

    state["encoder.embedding.weight"] = torch.rand(tokens, d, generator=draw) * 0.2 - 0.1
    norm("encoder.enc_norm")
    linear("value_encoder.linear1", d, 1)
    linear("value_encoder.linear2", d, d)
    norm("value_encoder.norm")
    for i in range(layers):
        layer = f"transformer_encoder.layers.{i}"
        linear(f"{layer}.self_attn.{naming}", 3 * d, d, join="")
        linear(f"{layer}.self_attn.out_proj", d, d)
        linear(f"{layer}.linear1", hidden, d)
        linear(f"{layer}.linear2", d, hidden)
        norm(f"{layer}.norm1")
        norm(f"{layer}.norm2")
    state["flag_encoder.weight"] = torch.randn(2, d, generator=draw)
    for name, out in (("decoder.fc.0", d), ("decoder.fc.2", d), ("decoder.fc.4", 1)):
        linear(name, out, d)
    linear("mvc_decoder.gene2query", d, d)
    linear("mvc_decoder.W", d, d, bias=False)
    return state
