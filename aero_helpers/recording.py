"""What a model's attention heads did with one text, and how it is captured, saved and loaded.

Capture goes through transformers' own attention interface, so every model that uses it (GPT-2,
Llama, GPT-NeoX, …) is one code path, and queries and keys are taken where the model itself
multiplies them: after the split into heads and after any rotation of positions.
https://huggingface.co/docs/transformers/attention_interface
"""

import json
import math
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from aero_helpers.attention import attention_weights, causal_mask, raw_scores

FORMAT = "aero_helpers attention record 1"


@dataclass(frozen=True, eq=False)
class AttentionRecord:
    """The raw attention scores of every head of a model on one text.

    tokens: the text as the model's tokenizer cut it, T readable strings.
    raw_scores: QKᵀ before scaling and masking, future entries included, float32
        [layer, head, query, key]; anything of that shape that `torch.as_tensor` takes.
    head_size: the d_k under the root of the softmax's scale.
    model_name: which model this was.

    Raises ValueError where these do not fit together or a score is not finite.
    """

    tokens: list
    raw_scores: torch.Tensor
    head_size: int
    model_name: str

    def __post_init__(self):
        scores = torch.as_tensor(self.raw_scores, dtype=torch.float32, device="cpu").detach()
        if scores.dim() != 4 or scores.shape[-1] != scores.shape[-2] or 0 in scores.shape:
            raise ValueError(f"raw_scores: expected [layer, head, T, T], got {list(scores.shape)}")
        if not scores.isfinite().all():
            raise ValueError("raw_scores: expected finite numbers, got NaN or infinity (mask later, in weights())")
        tokens = list(self.tokens)
        if len(tokens) != scores.shape[-1] or not all(isinstance(token, str) for token in tokens):
            raise ValueError(f"tokens: expected {scores.shape[-1]} strings, one a key, got {len(tokens)}: {tokens}")
        if not isinstance(self.head_size, Integral) or self.head_size < 1:
            raise ValueError(f"head_size: expected a whole number of at least 1, got {self.head_size!r}")
        object.__setattr__(self, "raw_scores", scores)
        object.__setattr__(self, "tokens", tokens)

    @property
    def n_layers(self):
        return self.raw_scores.shape[0]

    @property
    def n_heads(self):
        return self.raw_scores.shape[1]

    @property
    def n_tokens(self):
        return self.raw_scores.shape[-1]

    def __repr__(self):
        return (
            f"AttentionRecord({self.model_name!r}: {self.n_layers} layers × {self.n_heads} heads"
            f" × {self.n_tokens} tokens, head size {self.head_size})"
        )

    def weights(self):
        """Attention weights, after scale, causal mask and softmax: float32 [layer, head, query, key]."""
        return attention_weights(self.raw_scores, self.head_size)

    def head_scores(self, layer, head):
        """The raw scores of one head, [query, key]. Raises IndexError out of range."""
        for name, index, count in (("layer", layer, self.n_layers), ("head", head, self.n_heads)):
            if not isinstance(index, Integral) or not 0 <= index < count:
                raise IndexError(f"{name}: expected 0 to {count - 1} for {self.model_name}, got {index!r}")
        return self.raw_scores[layer, head]

    def head_weights(self, layer, head):
        """The attention weights of one head, [query, key]. Raises IndexError out of range."""
        return attention_weights(self.head_scores(layer, head), self.head_size)

    def save(self, path):
        """Write the record to one safetensors file. An older file survives a failed write."""
        path = Path(path)
        about = {
            "format": FORMAT,
            "tokens": json.dumps(self.tokens),
            "head_size": str(self.head_size),
            "model_name": self.model_name,
        }
        unfinished = path.with_name(path.name + ".part")
        save_file({"raw_scores": self.raw_scores.contiguous()}, unfinished, metadata=about)
        unfinished.replace(path)

    @classmethod
    def load(cls, path):
        """Read a record that `save` wrote.

        Raises FileNotFoundError, or ValueError where the file is damaged or something else.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path}: expected an attention record, found no file")
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                scores = file.get_tensor("raw_scores")
        except SafetensorError as error:
            raise ValueError(
                f"{path}: expected an attention record, got a damaged or different file ({error})"
            ) from error
        if about.get("format") != FORMAT:
            raise ValueError(f"{path}: expected the format {FORMAT!r}, got {about.get('format')!r}")
        return cls(json.loads(about["tokens"]), scores, int(about["head_size"]), about["model_name"])


@contextmanager
def attention_function(model, function):
    """Let `model` compute its attention with `function` while the context lasts.

    `function(module, query, key, value, attention_mask, **kwargs)` returns the output
    [batch, T, head, head_size] and the weights or None, as transformers' own do. The mask is what
    the "sdpa" function would get: None where plain causal, else bool [batch, 1, query, key].
    Without one registered under the same name transformers would pass none at all, and padding
    would be attended to without any warning.
    """
    before = model.config._attn_implementation
    AttentionInterface.register("aero", function)
    AttentionMaskInterface.register("aero", sdpa_mask)
    model.set_attn_implementation("aero")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@torch.no_grad()
def capture(model, token_ids):
    """Run `model` on one text, token_ids [T], and return (raw scores [layer, head, query, key], head size).

    The model computes what it always computes; queries and keys are looked at on their way.

    Raises ValueError for a model whose attention is not softmax(QKᵀ / √head_size) under a plain
    causal mask: `AttentionRecord.weights` would not be its weights.
    """
    by_layer = {}

    def observed(module, query, key, value, attention_mask, scaling=None, **kwargs):
        head_size = query.shape[-1]
        _require_plain_attention(module, attention_mask, scaling, head_size)
        shared_by = query.shape[1] // key.shape[1]  # query heads to a key head: 1 in GPT-2, more in Llama
        scores = raw_scores(query.float(), key.repeat_interleave(shared_by, dim=1).float())
        by_layer[module.layer_idx] = (scores[0].cpu(), head_size)
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)

    with attention_function(model, observed):
        model(input_ids=token_ids[None].to(model.device), use_cache=False)
    if not by_layer:
        raise ValueError(f"{type(model).__name__} does not use transformers' attention interface")
    scores, head_sizes = zip(*(by_layer[layer] for layer in sorted(by_layer)))
    return torch.stack(scores), head_sizes[0]


def _require_plain_attention(module, mask, scaling, head_size):
    if scaling is not None and not math.isclose(scaling, head_size**-0.5):
        raise ValueError(
            f"layer {module.layer_idx}: expected scores scaled by 1/√{head_size} = {head_size**-0.5:.4f},"
            f" got a model that scales by {scaling:.4f}"
        )
    plain = module.is_causal if mask is None else torch.equal(mask[0, 0], causal_mask(mask.shape[-1], mask.device))
    if not plain:
        raise ValueError(f"layer {module.layer_idx}: expected a plain causal mask, got a model that masks otherwise")


def readable_tokens(tokenizer, text, limit=None):
    """(token ids [T], T readable labels) of a text, both cut to `limit` tokens.

    A label is the piece of text the token stands for, its leading space included. Where a
    byte-level tokenizer cuts one letter into several tokens (Vietnamese, emoji), the single bytes
    are no text: each piece then shows the whole letter and its number, as "ế₁", "ế₂", "ế₃".
    """
    encoded = tokenizer(text, return_offsets_mapping=True, verbose=False)
    token_ids, spans = encoded["input_ids"][:limit], encoded["offset_mapping"]
    labels, piece = [], 0
    for i, (start, end) in enumerate(spans[: len(token_ids)]):
        continues = i > 0 and start < spans[i - 1][1]
        is_continued = i + 1 < len(spans) and spans[i + 1][0] < end
        piece = piece + 1 if continues else 1
        number = str(piece).translate(SUBSCRIPTS) if continues or is_continued else ""
        labels.append((text[start:end] or tokenizer.convert_ids_to_tokens(token_ids[i])) + number)
    return torch.tensor(token_ids), labels


SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
