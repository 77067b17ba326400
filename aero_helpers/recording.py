"""What a model's attention heads did with one text, and how it is saved and loaded."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from aero_helpers.arrays import plain_tensor
from aero_helpers.attention import attention_weights
from aero_helpers.files import read_whole, write_whole
from aero_helpers.require import is_whole, require_count, require_kind, require_several

FORMAT = "aero_helpers attention record 1"


@dataclass(frozen=True, eq=False)
class AttentionRecord:
    """The raw attention scores of every head of a model on one text.

    tokens: the text as the model's tokenizer cut it, T readable strings.
    raw_scores: QKᵀ before scaling and masking, future entries included, float32
        [layer, head, query, key]; anything of that shape that `torch.as_tensor` takes.
    head_size: the d_k under the root of the softmax's scale.
    model_name: which model this was. fingerprint: of its weights (`LanguageModel.fingerprint`), "" where unknown.

    Raises ValueError where these do not fit together or a score is not finite.

    >>> import aero_helpers as aero
    >>> record = aero.load("mini").record("The old man looked at the sea.")
    >>> record
    AttentionRecord('mini': 6 layers × 4 heads × 8 tokens, head size 32)
    >>> record.raw_scores.shape, record.weights()[0, 0].sum(-1)[:2]
    (torch.Size([6, 4, 8, 8]), tensor([1., 1.]))
    """

    tokens: list[str]
    raw_scores: torch.Tensor  # what is given may be anything of numbers: `__post_init__` makes a tensor of it
    head_size: int
    model_name: str
    fingerprint: str = ""

    def __post_init__(self):
        scores = plain_tensor(self.raw_scores, "raw_scores").to(torch.float32, copy=True)  # a record keeps its own
        if scores.dim() != 4 or scores.shape[-1] != scores.shape[-2] or 0 in scores.shape:
            raise ValueError(f"raw_scores: expected [layer, head, T, T], got {list(scores.shape)}")
        if not scores.isfinite().all():
            raise ValueError("raw_scores: expected finite numbers, got NaN or infinity (mask later, in weights())")
        require_several("tokens", self.tokens, "string")
        tokens = list(self.tokens)
        if len(tokens) != scores.shape[-1] or not all(isinstance(token, str) for token in tokens):
            raise ValueError(f"tokens: expected {scores.shape[-1]} strings, one a key, got {len(tokens)}: {tokens}")
        require_count("head_size", self.head_size)
        for name in ("model_name", "fingerprint"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name}: expected a string, got {getattr(self, name)!r}")
        object.__setattr__(self, "raw_scores", scores)
        object.__setattr__(self, "tokens", tokens)

    @property
    def n_layers(self) -> int:
        return self.raw_scores.shape[0]

    @property
    def n_heads(self) -> int:
        return self.raw_scores.shape[1]

    @property
    def n_tokens(self) -> int:
        return self.raw_scores.shape[-1]

    @property
    def shape(self) -> tuple[int, int]:
        """(layers, heads)"""
        return self.n_layers, self.n_heads

    def __repr__(self):
        return (
            f"AttentionRecord({self.model_name!r}: {self.n_layers} layers × {self.n_heads} heads"
            f" × {self.n_tokens} tokens, head size {self.head_size})"
        )

    def weights(self) -> torch.Tensor:
        """Attention weights, after scale, causal mask and softmax: float32 [layer, head, query, key]."""
        return attention_weights(self.raw_scores, self.head_size)

    def head_scores(self, layer: int, head: int) -> torch.Tensor:
        """The raw scores of one head, [query, key]. Raises IndexError out of range."""
        require_head(self, layer, head)
        return self.raw_scores[layer, head].clone()

    def head_weights(self, layer: int, head: int) -> torch.Tensor:
        """The attention weights of one head, [query, key]. Raises IndexError out of range."""
        return attention_weights(self.head_scores(layer, head), self.head_size)

    def first(self, n_tokens: int) -> "AttentionRecord":
        """The record of the first `n_tokens` tokens: what the model gives for them alone, as no token looks ahead.

        Raises ValueError for a number that is not 1 to the record's own.
        """
        require_count("n_tokens", n_tokens)
        if n_tokens > self.n_tokens:
            raise ValueError(f"n_tokens: expected at most {self.n_tokens}, the length of the record, got {n_tokens}")
        scores = self.raw_scores[..., :n_tokens, :n_tokens]
        return replace(self, tokens=self.tokens[:n_tokens], raw_scores=scores)

    def save(self, path: str | os.PathLike) -> None:
        """Write the record to one safetensors file. An older file survives a failed write.

        Raises FileNotFoundError where the folder does not exist, IsADirectoryError for a folder.
        """
        about = {
            "format": FORMAT,
            "tokens": json.dumps(self.tokens),
            "head_size": str(self.head_size),
            "model_name": self.model_name,
            "fingerprint": self.fingerprint,
        }
        write_whole(path, {"raw_scores": self.raw_scores.numpy()}, about)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "AttentionRecord":
        """Read a record that `save` wrote.

        Raises FileNotFoundError, or ValueError where the file is damaged or something else.
        """
        arrays, about = read_whole(path, "an attention record", FORMAT)
        try:
            tokens, head_size = json.loads(about["tokens"]), int(about["head_size"])
            scores = torch.from_numpy(arrays["raw_scores"])
            return cls(tokens, scores, head_size, about["model_name"], about.get("fingerprint", ""))
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            got = f"{about} ({error})"
            raise ValueError(f"{path}: expected tokens, head size and model name, got {got:.2000}") from error


def require_record(record: object) -> None:
    """Raise TypeError for anything but an AttentionRecord."""
    require_kind("record", record, AttentionRecord)


class OfOneModel(Protocol):
    """What records and profiles say of the model that they come from."""

    @property
    def model_name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def shape(self) -> tuple[int, int]: ...


def same_model(a: OfOneModel, b: OfOneModel) -> bool:
    """Whether two records or profiles are of one model: of the same weights, or of one name where either's are unknown
    (a record put together by hand, a file of an earlier version)."""
    if a.fingerprint and b.fingerprint:
        return (a.fingerprint, a.shape) == (b.fingerprint, b.shape)
    return (a.model_name, a.shape) == (b.model_name, b.shape)


def of_one_model(records: Iterable[AttentionRecord]) -> Iterator[AttentionRecord]:
    """The records, one by one as they are read.

    Raises TypeError for anything but records, ValueError for none, and at the first that is of another model.
    """
    require_several("records", records, "AttentionRecord")
    first = None
    for record in records:
        require_record(record)
        first = first or record
        if not same_model(record, first):
            words = " (of other weights)" if record.model_name == first.model_name else ""
            raise ValueError(f"records: expected records of one model, got {first} and {record}{words}")
        yield record
    if first is None:
        raise ValueError("records: expected at least one AttentionRecord, got none")


def require_head(of: OfOneModel, layer: int, head: int) -> None:
    """Raise IndexError unless `of`, a record or a profile, has that layer and head; negative numbers count as none."""
    for name, index, count in zip(("layer", "head"), (layer, head), of.shape):
        if not is_whole(index) or not 0 <= index < count:
            raise IndexError(f"{name}: expected 0 to {count - 1} for {of.model_name}, got {index!r}")
