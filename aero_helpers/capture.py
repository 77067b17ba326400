"""How the scores of a model are taken, or changed, while it runs.

Capture goes through transformers' own attention interface, so every model that uses it (GPT-2,
Llama, GPT-NeoX, …) is one code path, and queries and keys are taken where the model itself
multiplies them: after the split into heads and after any rotation of positions.
https://huggingface.co/docs/transformers/attention_interface

A model that is measured attends through this module from then on: by torch's own
scaled_dot_product_attention, as before, unless another function is in force for it in this thread
or task. What is in force lies in a context variable, so no run sees what another one asked for.
"""

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from inspect import signature

import torch
from transformers import AttentionInterface, PretrainedConfig, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from aero_helpers.attention import Change, causal_mask, raw_scores

NAME = "aero"  # in transformers' register
# What a model may tell its attention function without asking for another softmax. The window of a sliding
# one is in the mask, where it matters, and positions are in queries and keys.
UNDERSTOOD = {
    "position_ids",
    "cache_position",
    "use_cache",
    "sliding_window",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "return_dict",
}

# Pairs of a model and the function in force for it, the innermost last.
_in_force: ContextVar[tuple] = ContextVar("attention functions in force", default=())


def _dispatch(module, *args, **kwargs):
    for model, function in reversed(_in_force.get()):
        if any(module is each for each in model.modules()):
            return function(module, *args, **kwargs)
    return sdpa_attention_forward(module, *args, **kwargs)


# Registered once: without a mask registered under the same name, transformers would pass none at
# all, and padding would be attended to without any warning.
AttentionInterface.register(NAME, _dispatch)
AttentionMaskInterface.register(NAME, sdpa_mask)


def adopt(model: PreTrainedModel) -> None:
    """Let a model that attends by torch's own function, "sdpa", do so through this module.

    Raises ValueError for a model that attends otherwise: it would be measured as another model than it is.
    """
    if model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(NAME)
        if model.config._attn_implementation != NAME:  # a warning of transformers' says so too
            raise ValueError(
                f"{type(model).__name__} does not use transformers' attention interface, and can't be told to"
            )
    implementation = model.config._attn_implementation
    if implementation != NAME:
        raise ValueError(
            f"{type(model).__name__}: expected a model that attends by 'sdpa', torch's own function, got"
            f" {implementation!r}; "
            + (
                "model.set_attn_implementation('sdpa') changes it"
                if model._supports_sdpa
                else "this one knows no other"
            )
        )


@contextmanager
def attention_function(model: PreTrainedModel, function: Callable) -> Iterator[None]:
    """Let `model` compute its attention with `function` while the context lasts. Contexts nest.

    In force for this model, in this thread and asyncio task, and for nothing else.
    `function(module, query, key, value, attention_mask, **kwargs)` returns the output
    [batch, T, head, head_size] and the weights or None, as transformers' own do. The mask is what
    the "sdpa" function would get: None where plain causal, else bool [batch, 1, query, key].
    Raises what `adopt` raises, and at the end the same for a model that was told meanwhile to attend otherwise.
    """
    adopt(model)
    entry = (model, function)
    _in_force.set((*_in_force.get(), entry))
    try:
        yield
    finally:
        _in_force.set(tuple(each for each in _in_force.get() if each is not entry))
    if model.config._attn_implementation != NAME:
        raise ValueError(
            f"{type(model).__name__}: expected a model that goes on attending as it did, got"
            f" set_attn_implementation({model.config._attn_implementation!r}) meanwhile: what ran after it went unseen"
        )


def change_in_force(model: PreTrainedModel) -> Change | None:
    """The change of scores under which `model` runs in this thread or task, or None.

    Raises ValueError where another model's change reaches this one, by modules that the two have in common.
    """
    innermost = None
    for of, function in _in_force.get():
        if not isinstance(function, Attend):
            continue
        if of is model:
            innermost = function.change
        elif function.change is not None and not _attending(of).isdisjoint(_attending(model)):
            raise ValueError(
                f"{type(model).__name__}: expected attention modules of its own, got some that it shares with a model"
                " whose scores are changed at the moment; leave that `intervene`, or copy the model (copy.deepcopy)"
            )
    return innermost


def _attending(model):
    """The modules that stand for a layer each, which are those that attend."""
    return {module for module in model.modules() if getattr(module, "layer_idx", None) is not None}


_lock = threading.Lock()
_measured: dict = {}  # model -> [runs under way, its modules that stood in training mode]


@contextmanager
def measuring(model: PreTrainedModel) -> Iterator[None]:
    """Run `model` in evaluation mode, full precision and torch's usual device for new tensors, whatever is around.

    The last run of several at once gives the mode back.
    """
    with _lock:
        runs = _measured.setdefault(model, [0, []])
        if not runs[0]:
            runs[1] = [module for module in model.modules() if module.training]
        for module in runs[1]:
            module.training = False
        runs[0] += 1
    try:
        with torch.no_grad(), torch.autocast(model.device.type, enabled=False), _usual_device():
            yield
    finally:
        with _lock:
            runs[0] -= 1
            if not runs[0]:
                for module in _measured.pop(model)[1]:
                    module.training = True


def _usual_device():
    """The processor as torch's default device; no context where it is that already, as one slows each call of torch."""
    return nullcontext() if torch.empty(0).device.type == "cpu" else torch.device("cpu")


class Layers(dict):
    """What was taken in each layer of one run: {layer: value}. `of(model)` gives it in order, or says what is amiss."""

    def add(self, module: torch.nn.Module, value: object = None) -> None:
        layer = getattr(module, "layer_idx", None)
        if layer in self:
            raise ValueError(f"layers: expected each once a run, got layer {layer} twice")
        self[layer] = value

    def of(self, model: PreTrainedModel) -> list:
        """The values of the layers 0 … n − 1. Raises ValueError where it was not these that attended."""
        require_all_layers(model, self)
        return [self[layer] for layer in range(model.config.num_hidden_layers)]


def require_all_layers(model: PreTrainedModel, seen: Iterable[int]) -> None:
    """Raise ValueError unless the layers that were seen are those that the model's config states, in their order."""
    expected, kind = list(range(model.config.num_hidden_layers)), type(model).__name__
    if not seen:
        raise ValueError(f"{kind} does not use transformers' attention interface: none of its layers was seen")
    if set(seen) != set(expected):
        missing = [layer for layer in expected if layer not in seen]
        raise ValueError(
            f"{kind}: expected the layers 0 to {expected[-1] if expected else 'none'} of its config to attend through"
            f" transformers' interface, got {sorted(seen, key=str)}"
            + (f", none of {missing}" if missing else "")
            + "; config.num_hidden_layers states how many layers there are"
        )
    if list(seen) != expected:
        raise ValueError(
            f"{kind}: expected the layers to attend in the order of their numbers, got {list(seen)}; a layer that was"
            " moved needs a new number, module.layer_idx, in its attention"
        )


@dataclass(eq=False)
class Attend:
    """An attention function that looks at the raw scores on their way, and may change them.

    change(scores, layer) -> scores: raw scores [batch, head, query, key], before scale and mask. The
    queries are the last of the keys' positions: query i of Q stands at K − Q + i.
    keep(module, scores): is shown the scores, changed ones where they are changed.
    Unchanged, the model computes what it always computes. calls: how often each layer asked for a change.
    """

    keep: Callable | None = None
    change: Change | None = None
    calls: Counter = field(default_factory=Counter)

    def __call__(self, module, query, key, value, attention_mask, scaling=None, **kwargs):
        visible = visible_keys(module, query, key, attention_mask, **kwargs)
        if self.keep is None and self.change is None:
            return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
        shared_by = query.shape[1] // key.shape[1]  # query heads to a key head: 1 in GPT-2, more in Llama
        scores = raw_scores(query.float(), key.repeat_interleave(shared_by, dim=1).float())
        if self.change is not None:
            shape = scores.shape  # before: a change in place may resize
            scores = _checked_change(self.change(scores, module.layer_idx), scores, shape)
            self.calls[module.layer_idx] += 1
        if self.keep is not None:
            self.keep(module, scores)
        if self.change is None:
            return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
        scaled = scores * (query.shape[-1] ** -0.5 if scaling is None else scaling)
        weights = scaled.masked_fill(~visible, -math.inf).softmax(dim=-1).to(value.dtype)  # [batch, head, query, key]
        if not weights.isfinite().all():
            raise ValueError("change: expected a finite score in each row's past, got a row of −∞ or a score of ∞")
        output = weights @ value.repeat_interleave(shared_by, dim=1)  # [batch, head, query, head_size]
        return output.transpose(1, 2).contiguous(), weights


def _checked_change(changed, scores, shape):
    if not isinstance(changed, torch.Tensor) or changed.shape != shape:
        got = list(changed.shape) if isinstance(changed, torch.Tensor) else type(changed).__name__
        raise ValueError(f"change: expected raw scores {list(shape)} back, got {got}")
    if not changed.is_floating_point():
        raise ValueError(f"change: expected floating-point scores back, got {changed.dtype}")
    if changed.isnan().any():
        raise ValueError("change: expected numbers back, got NaN")
    return changed.to(scores)


def visible_keys(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    mask: torch.Tensor | None,
    dropout: float = 0.0,
    is_causal: bool | None = None,
    **kwargs,
) -> torch.Tensor:
    """Which keys each query sees: bool [batch or 1, 1, query, key].

    Raises ValueError unless the module attends as a softmax of scaled products under the plain causal mask, with
    nothing hidden but padding behind the text, and with everything it asks for understood.
    """
    layer, n_queries, n_keys = getattr(module, "layer_idx", "?"), query.shape[2], key.shape[2]
    unknown = {name: x for name, x in kwargs.items() if x is not None and name not in UNDERSTOOD}
    if unknown:
        names = ", ".join(f"{name}={x!r:.40}" for name, x in unknown.items())
        raise ValueError(
            f"layer {layer}: expected softmax(QKᵀ · scale) and no more, got a model that asks for {names} as well"
        )
    window = kwargs.get("sliding_window")
    if window is not None and n_queries < n_keys and n_keys >= window:
        raise ValueError(f"layer {layer}: expected a cache that holds the whole text, got a window of {window} tokens")
    if dropout:
        raise ValueError(f"layer {layer}: expected no dropout, got {dropout}; call model.eval()")
    causal = causal_mask(n_keys, query.device)[n_keys - n_queries :]
    if mask is None:
        is_causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
        if is_causal and n_queries in (1, n_keys):  # sdpa's own causal mask, for which the queries are all or the last
            return causal[None, None]
        raise ValueError(
            f"layer {layer}: expected a plain causal mask, got none"
            + (f" and {n_queries} queries for {n_keys} keys (a cache of fixed size?)" if is_causal else "")
        )
    real = mask[:, :, -1:]  # the last query sees all that is no padding
    behind = bool((real[..., :-1] >= real[..., 1:]).all()) and (n_queries == n_keys or bool(real.all()))
    if mask.dtype != torch.bool or not behind or not torch.equal(mask, (causal & real).expand_as(mask)):
        raise ValueError(
            f"layer {layer}: expected a plain causal mask, got a model that masks otherwise (padding in front of the"
            " text, a window, a cache of fixed size); give texts one by one, or padded on the right"
        )
    return mask


def require_plain_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None,
    **kwargs,
) -> None:
    """Raise ValueError unless a module attends as softmax(QKᵀ / √head_size) under a plain causal mask, unpadded."""
    visible, head_size = visible_keys(module, query, key, mask, **kwargs), query.shape[-1]
    if module.training:
        raise ValueError(f"layer {module.layer_idx}: expected evaluation mode, got training mode set during the run")
    if scaling is not None and not math.isclose(scaling, head_size**-0.5):
        raise ValueError(
            f"layer {module.layer_idx}: expected scores scaled by 1/√{head_size} = {head_size**-0.5:.4f},"
            f" got a model that scales by {scaling:.4f}"
        )
    if not visible.equal(causal_mask(key.shape[2], query.device).expand_as(visible)):
        raise ValueError(f"layer {module.layer_idx}: expected a plain causal mask, got padding or a cache")


def require_stated_heads(query: torch.Tensor, value: torch.Tensor, n_heads: int, head_size: int) -> None:
    """Raise ValueError unless queries and values have the heads that the config states, of one size."""
    got = query.shape[1], query.shape[-1], value.shape[-1]
    if got != (n_heads, head_size, head_size):
        raise ValueError(
            f"model: expected {n_heads} heads of {head_size} numbers, as its config states, got {got[0]} whose queries"
            f" have {got[1]} and whose values {got[2]}"
        )


def capture(
    model: PreTrainedModel, token_ids: torch.Tensor, change: Change | None = None, first_position: int = 0
) -> tuple[torch.Tensor, int]:
    """Run `model` on one text, token_ids [T], and return (raw scores [layer, head, query, key], head size).

    `change` is `Attend`'s: with it, the scores after the change are returned. The text stands at the positions
    first_position, first_position + 1, …

    Raises ValueError for a model whose attention is not softmax(QKᵀ / √head_size) under a plain
    causal mask, in each of its layers: `AttentionRecord.weights` would not be its weights. And for another
    first position than 0 where a model cannot be told.
    """
    by_layer = Layers()
    copied = change is not None  # a change may hand over the same tensor in each layer
    attention = Attend(lambda module, scores: by_layer.add(module, scores[0].to("cpu", copy=copied)), change)

    def function(module, query, key, value, attention_mask, scaling=None, **kwargs):
        require_plain_attention(module, query, key, attention_mask, scaling, **kwargs)
        require_stated_heads(query, value, model.config.num_attention_heads, head_size_of(model.config))
        return attention(module, query, key, value, attention_mask, scaling=scaling, **kwargs)

    _run(model, function, token_ids, first_position)
    scores = torch.stack(by_layer.of(model))  # [layer, head, query, key]
    return scores, head_size_of(model.config)


def queries_and_keys(
    model: PreTrainedModel, token_ids: torch.Tensor, change: Change | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run `model` on one text, token_ids [T], and return the queries and keys that it multiplies.

    Both float32, after any rotation of positions: queries [layer, head, T, head_size], keys
    [layer, key head, T, head_size]. GPT-2 has as many key heads as heads. In grouped-query
    attention there are fewer, and head h uses key head h // (heads / key heads). `change` is
    `Attend`'s: with it, later layers see what the changed earlier ones give them.

    Raises ValueError for a model that does not use transformers' attention interface in each of its
    layers, or whose attention is no softmax of scaled products under a causal mask.
    """
    taken, attention = Layers(), Attend(change=change)

    def look(module, query, key, *args, **kwargs):
        taken.add(module, (query[0].float().cpu(), key[0].float().cpu()))
        return attention(module, query, key, *args, **kwargs)

    _run(model, look, token_ids)
    queries, keys = zip(*taken.of(model))
    return torch.stack(queries), torch.stack(keys)  # [layer, head, T, head_size], [layer, key head, T, head_size]


def _run(model, function, token_ids, first_position=0):
    token_ids = token_ids[None].to(model.device)
    places = torch.arange(first_position, first_position + token_ids.shape[1], device=model.device)
    moved = {"position_ids": places[None]} if first_position else {}
    if moved and "position_ids" not in signature(model.forward).parameters:
        raise ValueError(f"first_position: expected 0 for a {type(model).__name__}, which takes no position_ids")
    with measuring(model), attention_function(model, function):
        model(input_ids=token_ids, use_cache=False, **moved)


def head_size_of(config: PretrainedConfig) -> int:
    """d_k: what the config states (Llama-like models may), else the width shared among the heads."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
