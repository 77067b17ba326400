"""What several lessons' exercises are tried on."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from aero_helpers import attention


def drawn(make: Callable[[Callable[..., torch.Tensor]], list[tuple]]) -> list[tuple]:
    """`make(draw)`, where draw(*shape) gives standard normal tensors.

    Each exercise draws from a generator of its own: one that is put in or taken out changes no other's inputs.
    """
    generator = torch.Generator().manual_seed(0)
    return make(lambda *shape: torch.randn(shape, generator=generator))


def masked(scores: torch.Tensor, fill: float = -torch.inf) -> torch.Tensor:
    """Scores [..., query, key] with `fill` in the future."""
    return scores.masked_fill(~attention.causal_mask(scores.shape[-1]), fill)


def far_below(draw: Callable[..., torch.Tensor], *shape: int) -> torch.Tensor:
    """Queries or keys (times −1) whose float64 scores lie near −10¹⁰ times their length, where only −∞ masks."""
    return 1e5 + 1e-5 * draw(*shape).double()


def heads_table(seed: int, n_layers: int = 4, n_heads: int = 3) -> pd.DataFrame:
    """A table like `shift_table`'s, in any order: some heads very negative, the most even ones not quite."""
    rng = np.random.default_rng(seed)
    layers, heads = np.indices((n_layers, n_heads)).reshape(2, -1)
    n = len(layers)
    n_negative = n // 4 + seed % 4  # no fixed share of them: it is 0.9 that counts
    negative, others = np.linspace(0.91, 0.99, n_negative), np.linspace(0.05, 0.89, n - n_negative)
    shares = rng.permutation(np.concatenate([negative, others]))
    entropy = np.where((shares > 0.84) & (shares < 0.9), 0.95, rng.uniform(0.1, 0.9, n))
    columns = {"share_below_zero": shares, "row_spread": rng.uniform(0.1, 6, n), "entropy": entropy}
    return pd.DataFrame({"layer": layers, "head": heads} | columns).sample(frac=1, random_state=seed)
