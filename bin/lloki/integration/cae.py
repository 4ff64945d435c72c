"""LLOKI-CAE: a conditional autoencoder that brings slices of all technologies together (Eq. 6-9).

The batch token, one for each pair of technology and gene panel, is a learnt vector that joins the
input of the encoder and of the decoder. `training` trains it on the embeddings of all slices; a
slice whose batch the model knows is then embedded by one forward pass.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from lloki.support.errors import InputError

HIDDEN = (256, 175)


@dataclass(frozen=True)
class Architecture:
    """Sizes: of the embedding that comes in, of the latent space, and of a batch's vector.

    adapted: so many last batches have a linear map of their embeddings: all, but in older models.
    """

    input_dim: int
    latent_dim: int
    batch_dim: int
    batches: int
    adapted: int = 0


class ConditionalAutoencoder(nn.Module):
    """Encoder and decoder of three layers each, both told the batch of every cell."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        a, (wide, narrow) = architecture, HIDDEN
        self.batch = nn.Embedding(a.batches, a.batch_dim)
        nn.init.zeros_(self.batch.weight)  # what the batches differ by is learnt, not drawn
        self.encoder = nn.Sequential(
            nn.Linear(a.input_dim + a.batch_dim, wide), nn.ReLU(),
            nn.Linear(wide, narrow), nn.ReLU(),
            nn.Linear(narrow, a.latent_dim), nn.Softplus(),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(a.latent_dim + a.batch_dim, narrow), nn.ReLU(),
            nn.Linear(narrow, wide), nn.ReLU(),
            nn.Linear(wide, a.input_dim),
        )  # fmt: skip
        # what is added to embeddings of a batch, a linear map of them
        self.maps = nn.Parameter(torch.zeros(a.adapted, a.input_dim, a.input_dim))

    def encode(self, cells: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        """Latent positions (n × latent_dim) of embeddings (n × input_dim) of given batches (n)."""
        return self.encoder(torch.cat([self.levelled(cells, batch), self.batch(batch)], dim=1))

    def levelled(self, cells: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        """Embeddings (n × input_dim) with the linear map of each one's batch (n) added."""
        first = self.architecture.batches - self.architecture.adapted
        order = torch.argsort(batch, stable=True)
        here, counts = torch.unique(batch, return_counts=True)
        parts = cells.index_select(0, order).split(counts.tolist())
        parts = [
            part + part @ self.maps[b - first] if b >= first else part
            for b, part in zip(here.tolist(), parts, strict=True)
        ]
        return torch.cat(parts).index_select(0, torch.argsort(order))

    def start_from(self, maps: np.ndarray) -> None:
        """Set the linear maps (batches × input_dim × input_dim), as `levelling` finds them."""
        with torch.no_grad():
            self.maps.copy_(torch.from_numpy(maps))

    def decode(self, latent: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        """Embeddings again, from latent positions and batches."""
        return self.decoder(torch.cat([latent, self.batch(batch)], dim=1))


@torch.no_grad()
def encode(
    model: ConditionalAutoencoder,
    embedding: np.ndarray,
    batch: np.ndarray,
    device: torch.device,
    rows: int = 16384,
) -> np.ndarray:
    """Latent positions (n × latent_dim, float32) of embeddings (n × d) of given batches (n)."""
    model.eval().to(device)
    blocks = []
    for start in range(0, len(embedding), rows):
        cells = torch.from_numpy(np.ascontiguousarray(embedding[start : start + rows])).to(device)
        token = torch.from_numpy(batch[start : start + rows]).to(device)
        blocks.append(model.encode(cells, token).cpu().numpy())
    model.train()
    return np.concatenate(blocks)


def new_model(
    tokens: Sequence[tuple[str, str]],
    width: int,
    latent_dim: int,
    batch_dim: int,
    seed: int,
    maps: bool = True,
) -> tuple[ConditionalAutoencoder, list[tuple[str, str]]]:
    """An untrained model, and its batches in their order.

    tokens: technology and panel of each slice; width: numbers of an embedding; maps: each batch has
    a linear map of its embeddings.
    """
    torch.manual_seed(seed)
    batches = sorted(set(tokens))
    sizes = Architecture(width, latent_dim, batch_dim, len(batches), maps * len(batches))
    return ConditionalAutoencoder(sizes), batches


def extended(model: ConditionalAutoencoder, batches: int) -> ConditionalAutoencoder:
    """The model with more batches (in all `batches`): their vectors are the mean of the known."""
    known = model.architecture
    new = batches - known.batches
    larger = ConditionalAutoencoder(replace(known, batches=batches, adapted=known.adapted + new))
    weights = model.state_dict()
    rows = weights["batch.weight"]
    weights["batch.weight"] = torch.cat([rows, rows.mean(dim=0, keepdim=True).expand(new, -1)])
    weights["maps"] = torch.cat([weights["maps"], larger.maps[known.adapted :]])
    larger.load_state_dict(weights)
    return larger


def save(
    model: ConditionalAutoencoder, batches: list[dict], training: object, folder: Path, **notes
) -> None:
    """Write model.safetensors and config.json into an existing folder.

    batches: technology and panel of each; training: the dataclass of its hyperparameters.
    """
    weights = {name: value.contiguous().cpu() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    config = {
        "architecture": {**asdict(model.architecture), "hidden": list(HIDDEN)},
        "batches": batches,
        "training": asdict(training),
        **notes,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def load(folder: Path) -> tuple[ConditionalAutoencoder, dict]:
    """Read what `save` wrote: the model and config.json.

    OSError if a file is missing; ValueError, KeyError or RuntimeError if it is not such a model.
    """
    config = json.loads((folder / "config.json").read_text())
    sizes = dict(config["architecture"])
    if sizes.pop("hidden") != list(HIDDEN):
        raise ValueError("config.json has other hidden layers")
    model = ConditionalAutoencoder(Architecture(**sizes))
    try:
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except SafetensorError as error:
        raise ValueError(f"model.safetensors is damaged ({error})") from None
    return model, config


def read_model(
    folder: str, source: str, embedder: str, width: int
) -> tuple[ConditionalAutoencoder, list[tuple[str, str]], dict]:
    """The model of a folder, technology and panel of each batch that it knows, its config.json.

    `source` is a file with embeddings of so many numbers by `embedder`. InputError if the folder
    holds no model, or one of other embeddings.
    """
    try:
        model, config = load(Path(folder))
        batches = [(b["technology"], b["panel"]) for b in config["batches"]]
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
        raise InputError(
            folder, f"not a trained model ({error})", "give a folder that train_cae.py wrote"
        ) from None
    if width != model.architecture.input_dim or embedder != config.get("embedder"):
        raise InputError(
            source, f"its embedding is by {embedder} with {width} numbers, the model was trained "
            f"on {config.get('embedder')} with {model.architecture.input_dim}",
            "embed the slice as the model's slices were",
        )  # fmt: skip
    return model, batches, config
