"""What a model's attention heads did with one text, and how it is captured, saved and loaded.

Capture goes through transformers' own attention interface, so every model that uses it (GPT-2,
Llama, GPT-NeoX, …) is one code path, and queries and keys are taken where the model itself
multiplies them: after the split into heads and after any rotation of positions.
https://huggingface.co/docs/transformers/attention_interface
"""

import json
import math
import tempfile
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

from aero_helpers.attention import attention_weights, causal_mask, raw_scores, require_count

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
        scores = torch.as_tensor(self.raw_scores).detach()
        if scores.is_complex():
            raise ValueError(f"raw_scores: expected real numbers, got {scores.dtype}")
        scores = scores.to("cpu", torch.float32, copy=True)  # a record keeps its own numbers
        if scores.dim() != 4 or scores.shape[-1] != scores.shape[-2] or 0 in scores.shape:
            raise ValueError(f"raw_scores: expected [layer, head, T, T], got {list(scores.shape)}")
        if not scores.isfinite().all():
            raise ValueError("raw_scores: expected finite numbers, got NaN or infinity (mask later, in weights())")
        tokens = list(self.tokens)
        if len(tokens) != scores.shape[-1] or not all(isinstance(token, str) for token in tokens):
            raise ValueError(f"tokens: expected {scores.shape[-1]} strings, one a key, got {len(tokens)}: {tokens}")
        require_count("head_size", self.head_size)
        if not isinstance(self.model_name, str):
            raise ValueError(f"model_name: expected a string, got {self.model_name!r}")
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

    @property
    def shape(self):
        """(layers, heads)"""
        return tuple(self.raw_scores.shape[:2])

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
        require_head(self, layer, head)
        return self.raw_scores[layer, head].clone()

    def head_weights(self, layer, head):
        """The attention weights of one head, [query, key]. Raises IndexError out of range."""
        return attention_weights(self.head_scores(layer, head), self.head_size)

    def first(self, n_tokens):
        """The record of the first `n_tokens` tokens: what the model gives for them alone, as no token looks ahead.

        Raises ValueError for a number that is not 1 to the record's own.
        """
        require_count("n_tokens", n_tokens)
        if n_tokens > self.n_tokens:
            raise ValueError(f"n_tokens: expected at most {self.n_tokens}, the length of the record, got {n_tokens}")
        scores = self.raw_scores[..., :n_tokens, :n_tokens]
        return AttentionRecord(self.tokens[:n_tokens], scores, self.head_size, self.model_name)

    def save(self, path):
        """Write the record to one safetensors file. An older file survives a failed write.

        Raises FileNotFoundError where the folder does not exist, IsADirectoryError for a folder.
        """
        about = {
            "format": FORMAT,
            "tokens": json.dumps(self.tokens),
            "head_size": str(self.head_size),
            "model_name": self.model_name,
        }
        written_whole(path, lambda unfinished: save_file({"raw_scores": self.raw_scores}, unfinished, metadata=about))

    @classmethod
    def load(cls, path):
        """Read a record that `save` wrote.

        Raises FileNotFoundError, or ValueError where the file is damaged or something else.
        """
        arrays, about = read_whole(path, "an attention record", FORMAT)
        try:
            return cls(json.loads(about["tokens"]), arrays["raw_scores"], int(about["head_size"]), about["model_name"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: expected tokens, head size and model name, got {about} ({error})") from error


def require_record(record):
    """Raise TypeError for anything but an AttentionRecord."""
    if not isinstance(record, AttentionRecord):
        raise TypeError(f"record: expected an AttentionRecord, got {type(record).__name__}")


def require_head(of, layer, head):
    """Raise IndexError unless `of`, a record or a profile, has that layer and head; negative numbers count as none."""
    for name, index, count in zip(("layer", "head"), (layer, head), of.shape):
        if isinstance(index, bool) or not isinstance(index, Integral) or not 0 <= index < count:
            raise IndexError(f"{name}: expected 0 to {count - 1} for {of.model_name}, got {index!r}")


def written_whole(path, write):
    """Let `write(unfinished path)` write a file, and put it in place when it is whole; an older one survives a failure.

    Raises FileNotFoundError where the folder does not exist, IsADirectoryError for a folder.
    """
    path = Path(path).resolve()  # a link stays a link
    if path.is_dir():
        raise IsADirectoryError(f"{path}: expected a file's name, got a folder")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: expected an existing folder, found no {path.parent}")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as folder:
        unfinished = Path(folder) / path.name
        write(unfinished)
        unfinished.replace(path)


def read_whole(path, what, file_format):
    """({name: numpy array}, metadata) of a safetensors file whose metadata states that format.

    Raises FileNotFoundError, or ValueError where the file is damaged or something else than `what`.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: expected {what}, found no file")
    try:
        with safe_open(path, framework="np") as file:
            about = file.metadata() or {}
            if about.get("format") != file_format:
                raise ValueError(f"{path}: expected the format {file_format!r}, got {about.get('format')!r}")
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118 (it is no dict)
    except SafetensorError as error:
        raise ValueError(f"{path}: expected {what}, got a damaged or different file ({error})") from error


_functions = {}  # id of a model's config -> the attention functions in force, innermost last


def _dispatch(module, *args, **kwargs):
    in_force = _functions.get(id(module.config), [sdpa_attention_forward])  # a copied model has none of its own
    return in_force[-1](module, *args, **kwargs)


# Registered once: without a mask registered under the same name, transformers would pass none at
# all, and padding would be attended to without any warning.
AttentionInterface.register("aero", _dispatch)
AttentionMaskInterface.register("aero", sdpa_mask)


@contextmanager
def attention_function(model, function):
    """Let `model` compute its attention with `function` while the context lasts. Contexts nest.

    `function(module, query, key, value, attention_mask, **kwargs)` returns the output
    [batch, T, head, head_size] and the weights or None, as transformers' own do. The mask is what
    the "sdpa" function would get: None where plain causal, else bool [batch, 1, query, key].
    """
    before = model.config._attn_implementation
    in_force = _functions.setdefault(id(model.config), [])
    in_force.append(function)
    model.set_attn_implementation("aero")
    try:
        yield
    finally:
        model.set_attn_implementation(before)
        in_force.pop()
        if not in_force:
            del _functions[id(model.config)]


def attend(keep=None, change=None):
    """An attention function that looks at the raw scores on their way, and may change them.

    change(scores, layer) -> scores: raw scores [batch, head, query, key], before scale and mask.
    keep(module, scores, mask, scaling): is shown the scores, changed ones where they are changed.
    Unchanged, the model computes what it always computes.
    """

    def function(module, query, key, value, attention_mask, scaling=None, **kwargs):
        shared_by = query.shape[1] // key.shape[1]  # query heads to a key head: 1 in GPT-2, more in Llama
        scores = raw_scores(query.float(), key.repeat_interleave(shared_by, dim=1).float())
        if change is not None:
            scores = _checked_change(change(scores, module.layer_idx), scores)
        if keep is not None:
            keep(module, scores, attention_mask, scaling)
        if change is None:
            return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
        visible = causal_mask(query.shape[2], query.device) if attention_mask is None else attention_mask
        scaled = scores * (query.shape[-1] ** -0.5 if scaling is None else scaling)
        weights = scaled.masked_fill(~visible, -math.inf).softmax(dim=-1).to(value.dtype)
        return (weights @ value.repeat_interleave(shared_by, dim=1)).transpose(1, 2), weights

    return function


def _checked_change(changed, scores):
    if not isinstance(changed, torch.Tensor) or changed.shape != scores.shape:
        got = list(changed.shape) if isinstance(changed, torch.Tensor) else type(changed).__name__
        raise ValueError(f"change: expected raw scores {list(scores.shape)} back, got {got}")
    return changed


@torch.no_grad()
def capture(model, token_ids, change=None, first_position=0):
    """Run `model` on one text, token_ids [T], and return (raw scores [layer, head, query, key], head size).

    `change` is `attend`'s: with it, the scores after the change are returned. The text stands at the positions
    first_position, first_position + 1, …

    Raises ValueError for a model whose attention is not softmax(QKᵀ / √head_size) under a plain
    causal mask: `AttentionRecord.weights` would not be its weights.
    """
    by_layer, head_size = {}, head_size_of(model.config)

    def keep(module, scores, mask, scaling):
        require_plain_attention(module, mask, scaling, head_size)
        by_layer[module.layer_idx] = scores[0].cpu()

    with attention_function(model, attend(keep, change)):
        places = first_position + torch.arange(len(token_ids), device=model.device)
        moved = {"position_ids": places[None]} if first_position else {}  # not every model can be told
        model(input_ids=token_ids[None].to(model.device), use_cache=False, **moved)
    return _stacked(model, by_layer), head_size


@torch.no_grad()
def queries_and_keys(model, token_ids, change=None):
    """Run `model` on one text, token_ids [T], and return the queries and keys that it multiplies.

    Both float32, after any rotation of positions: queries [layer, head, T, head_size], keys
    [layer, key head, T, head_size]. GPT-2 has as many key heads as heads. In grouped-query
    attention there are fewer, and head h uses key head h // (heads / key heads). `change` is
    `attend`'s: with it, later layers see what the changed earlier ones give them.

    Raises ValueError for a model that does not use transformers' attention interface.
    """
    queries, keys = {}, {}
    attention = attend(change=change) if change else sdpa_attention_forward

    def look(module, query, key, *args, **kwargs):
        queries[module.layer_idx] = query[0].float().cpu()
        keys[module.layer_idx] = key[0].float().cpu()
        return attention(module, query, key, *args, **kwargs)

    with attention_function(model, look):
        model(input_ids=token_ids[None].to(model.device), use_cache=False)
    return _stacked(model, queries), _stacked(model, keys)


def _stacked(model, by_layer):
    if not by_layer:
        raise ValueError(f"{type(model).__name__} does not use transformers' attention interface")
    return torch.stack([by_layer[layer] for layer in sorted(by_layer)])


def head_size_of(config):
    """d_k: what the config states (Llama-like models may), else the width shared among the heads."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def require_plain_attention(module, mask, scaling, head_size):
    """Raise ValueError unless a module attends as softmax(QKᵀ / √head_size) under a plain causal mask."""
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
