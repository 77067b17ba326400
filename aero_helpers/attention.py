"""The lesson's arithmetic: pure functions on tensors, one for each step.

Shapes are written [..., head, query, key]; T is the number of tokens, D the width of the model.
Formulas: Vaswani et al. 2017, "Attention Is All You Need" (arXiv 1706.03762), section 3.2.
"""

import math
from typing import Protocol

import torch

from aero_helpers.require import require_count

TINY_WEIGHT = 0.01  # below it a weight counts as next to nothing


class Change(Protocol):
    """change(raw scores [..., head, query, key], layer) -> as many scores; layer None where they are of all layers."""

    def __call__(self, scores: torch.Tensor, layer: int | None, /) -> torch.Tensor: ...


def causal_mask(n_tokens: int, device: str | torch.device = "cpu") -> torch.Tensor:
    """Who may look at whom in a decoder: bool [query, key], True where key <= query.

    Raises ValueError if `n_tokens` is not a whole number of at least 1.

    >>> causal_mask(3).int()
    tensor([[1, 0, 0],
            [1, 1, 0],
            [1, 1, 1]], dtype=torch.int32)
    """
    require_count("n_tokens", n_tokens)
    return torch.ones(n_tokens, n_tokens, dtype=torch.bool, device=device).tril()


def split_qkv(activation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cut what GPT-2's fused `c_attn` puts out, [..., T, 3D], into q, k, v, each [..., T, D].

    The order (all queries, all keys, all values) is GPT-2's. Other models interleave them by head
    (GPT-NeoX) or have no fused layer (Llama): compare with the model's own attention, always.

    Raises TypeError if `activation` is no tensor, ValueError if its last size is not 3D.

    >>> split_qkv(torch.arange(6.0).reshape(1, 6))
    (tensor([[0., 1.]]), tensor([[2., 3.]]), tensor([[4., 5.]]))
    """
    require_tensor("activation", activation, least_dims=2)
    if activation.shape[-1] % 3 or not activation.shape[-1]:
        raise ValueError(f"activation: expected [..., T, 3D], a last size divisible by 3, got {_shape(activation)}")
    q, k, v = activation.chunk(3, dim=-1)  # [..., T, D] each
    return q, k, v


def split_heads(x: torch.Tensor, n_heads: int) -> torch.Tensor:
    """Give each head its own slice of the width: [..., T, D] -> [..., head, T, D / n_heads].

    Raises TypeError if `x` is no tensor, ValueError if D is not divisible by `n_heads`.

    >>> split_heads(torch.arange(8.0).reshape(2, 4), n_heads=2)
    tensor([[[0., 1.],
             [4., 5.]],
    <BLANKLINE>
            [[2., 3.],
             [6., 7.]]])
    """
    require_tensor("x", x, least_dims=2)
    require_count("n_heads", n_heads)
    if x.shape[-1] % n_heads:
        raise ValueError(
            f"x: expected [..., T, D] with D divisible by {n_heads} heads, got {_shape(x)}"
            f" ({x.shape[-1]} / {n_heads} leaves {x.shape[-1] % n_heads})"
        )
    by_token = x.unflatten(-1, (n_heads, x.shape[-1] // n_heads))  # [..., T, head, head_size]
    return by_token.transpose(-3, -2)  # [..., head, T, head_size]


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    """Undo `split_heads`: [..., head, T, head_size] -> [..., T, head * head_size].

    >>> merge_heads(split_heads(torch.arange(8.0).reshape(2, 4), n_heads=2))
    tensor([[0., 1., 2., 3.],
            [4., 5., 6., 7.]])
    """
    require_tensor("x", x, least_dims=3)
    by_token = x.transpose(-3, -2)  # [..., T, head, head_size]
    return by_token.flatten(-2)  # [..., T, head * head_size]


def raw_scores(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """QKᵀ for each head, unscaled and unmasked: [..., head, T, head_size] twice -> [..., head, query, key].

    Raises TypeError if `q` or `k` is no tensor or their dtypes differ, ValueError if their sizes do not fit.

    >>> raw_scores(torch.eye(2), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[1., 3.],
            [2., 4.]])
    """
    require_tensor("q", q, least_dims=2)
    require_tensor("k", k, least_dims=2)
    if q.dtype != k.dtype:
        raise TypeError(f"q and k: expected the same kind of numbers, got {q.dtype} and {k.dtype}")
    if q.shape[-1] != k.shape[-1] or q.shape[:-2] != k.shape[:-2]:
        raise ValueError(f"q and k: expected the same heads and the same head size, got {_shape(q)} and {_shape(k)}")
    return q @ k.transpose(-1, -2)  # [..., query, head_size] @ [..., head_size, key] -> [..., query, key]


def score_terms(q: torch.Tensor, k: torch.Tensor, b_q: torch.Tensor, b_k: torch.Tensor) -> dict[str, torch.Tensor]:
    """The raw scores as four terms, by what the biases of GPT-2's queries and keys contribute.

        (q + b_Q)·(k + b_K) = q·k + b_Q·k + q·b_K + b_Q·b_K

    `q` and `k` are given whole, biases included, [..., head, T, head_size]; `b_q` and `b_k` are the
    biases in them, [..., head, head_size]. Returns {"q·k", "b_Q·k", "q·b_K", "b_Q·b_K"}, each
    [..., head, query, key]. The last two are the same for all keys of a row, so no softmax can see
    them, and b_K never changes a weight (Namazifar et al. 2023, arXiv 2302.08626) where positions are absolute;
    rotary ones turn it with the key. With ln_1's bias folded in (`HeadMatrices.folded`) the terms are others, their
    sum is not.

    Raises what `raw_scores` raises, and ValueError where the biases do not fit q and k.

    >>> q, k, b_q, b_k = torch.ones(1, 2, 4), torch.ones(1, 2, 4), torch.ones(1, 4), torch.zeros(1, 4)
    >>> {name: term.sum().item() for name, term in score_terms(q, k, b_q, b_k).items()}
    {'q·k': 0.0, 'b_Q·k': 16.0, 'q·b_K': 0.0, 'b_Q·b_K': 0.0}
    """
    for name, bias, x in (("b_q", b_q, q), ("b_k", b_k, k)):
        require_tensor(name[-1], x, least_dims=2)
        require_tensor(name, bias, least_dims=1)
        if bias.dtype != x.dtype:
            raise TypeError(f"{name}: expected {x.dtype}, as {name[-1]} is, got {bias.dtype}")
        if bias.shape != x.shape[:-2] + x.shape[-1:]:
            raise ValueError(f"{name}: expected {_shape(x[..., 0, :])}, one a head, got {_shape(bias)}")
    constant_q, constant_k = b_q[..., None, :].expand_as(q), b_k[..., None, :].expand_as(k)
    free_q, free_k = q - constant_q, k - constant_k  # [..., head, T, head_size] each
    return {
        "q·k": raw_scores(free_q, free_k),
        "b_Q·k": raw_scores(constant_q, free_k),
        "q·b_K": raw_scores(free_q, constant_k),
        "b_Q·b_K": raw_scores(constant_q, constant_k),
    }


def attention_weights(raw_scores: torch.Tensor, head_size: int) -> torch.Tensor:
    """softmax(QKᵀ / √head_size) under the causal mask: [..., query, key] -> [..., query, key].

    `raw_scores` are unscaled and unmasked; the past must be finite. Every row of the result sums to
    1 and is exactly 0 in the future, whatever stood there. Half precision is computed in float32
    and rounded at the end. The mask is −∞: a "large" negative number in its place has leaked future
    tokens where the scores themselves were very negative.

    Raises TypeError if `raw_scores` is no floating-point tensor, ValueError if it is not square or
    `head_size` is no whole number of at least 1.

    >>> attention_weights(torch.zeros(3, 3), head_size=4)  # equal scores: uniform attention
    tensor([[1.0000, 0.0000, 0.0000],
            [0.5000, 0.5000, 0.0000],
            [0.3333, 0.3333, 0.3333]])
    """
    require_tensor("raw_scores", raw_scores, least_dims=2)
    if raw_scores.shape[-1] != raw_scores.shape[-2] or not raw_scores.shape[-1]:
        raise ValueError(f"raw_scores: expected [..., T, T] with T at least 1, got {_shape(raw_scores)}")
    require_count("head_size", head_size)
    computed_in = torch.promote_types(raw_scores.dtype, torch.float32)
    scaled = raw_scores.to(computed_in) / math.sqrt(head_size)  # [..., query, key]
    past = causal_mask(raw_scores.shape[-1], device=raw_scores.device)  # [query, key]
    return scaled.masked_fill(~past, -math.inf).softmax(dim=-1).to(raw_scores.dtype)


def row_means(scores: torch.Tensor) -> torch.Tensor:
    """The mean of each row's past (keys up to the query): [..., query, key] -> [..., query, 1].

    This is the part of the scores that a softmax over keys cannot see. Where there are fewer queries than
    keys, they are the last ones, as in a model that keeps earlier keys in a cache.

    Raises TypeError if `scores` is no floating-point tensor, ValueError for more queries than keys.
    """
    past = past_of(scores)
    return scores.masked_fill(~past, 0).sum(-1, keepdim=True) / past.sum(-1, keepdim=True)  # [..., query, 1]


def past_of(scores: torch.Tensor) -> torch.Tensor:
    """Which keys lie in the past of each query of scores [..., query, key], the queries being the last: bool."""
    require_tensor("scores", scores, least_dims=2)
    n_queries, n_keys = scores.shape[-2:]
    if not 0 < n_queries <= n_keys:
        raise ValueError(f"scores: expected [..., query, key] with 1 to all keys as queries, got {_shape(scores)}")
    return causal_mask(n_keys, scores.device)[n_keys - n_queries :]


def _shape(x):
    return list(x.shape)


def require_tensor(name: str, x: object, least_dims: int) -> None:
    """Raise TypeError unless `x` is a tensor of floating-point numbers, ValueError for too few dimensions."""
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(x).__name__} (torch.as_tensor makes one)")
    if not x.is_floating_point():
        raise TypeError(f"{name}: expected floating-point numbers, got {x.dtype}")
    if x.layout != torch.strided or x.is_meta or x.dtype.itemsize < 2:
        raise TypeError(f"{name}: expected a dense tensor of 16 bits or more, got {x.dtype}, {x.layout}, {x.device}")
    if x.dim() < least_dims:
        raise ValueError(f"{name}: expected at least {least_dims} dimensions, got {_shape(x)}")
