"""Numbers about a record: where its raw scores lie, and how sparse its attention is."""

import numpy as np
import pandas as pd
import torch

from aero_helpers.attention import causal_mask, row_means
from aero_helpers.recording import AttentionRecord

ENTRIES = {
    "causal": "every query with its past and itself",
    "without_key_0": "the same, key 0 left out",
    "key_0": "key 0 alone, queries 1, 2, …",
    "last_query": "the last query alone, key 0 and itself left out",
    "future": "the entries above the diagonal, which the mask removes",
}


def select_entries(n_tokens, entries="causal"):
    """Which scores of a head to count: bool [query, key].

    `entries` is one of ENTRIES: the choice changes the share below zero a good deal, so it is
    never implied. Raises ValueError for another name.
    """
    if entries not in ENTRIES:
        raise ValueError(f"entries: expected one of {', '.join(ENTRIES)}, got {entries!r}")
    past = causal_mask(n_tokens)
    query = torch.arange(n_tokens)[:, None]
    key = torch.arange(n_tokens)[None, :]
    return {
        "causal": past,
        "without_key_0": past & (key > 0),
        "key_0": past & (key == 0) & (query > 0),
        "last_query": past & (query == n_tokens - 1) & (key > 0) & (key < query),
        "future": ~past,
    }[entries]


def shift_table(record, entries="causal"):
    """One row a (layer, head): a pandas table of what its scores and its weights are like.

    Of the raw scores (unscaled) among `entries` (see `select_entries`):
        n_scores, share_below_zero, median, mean.
    Of all rows, whatever `entries` says:
        sink_weight        mean attention weight on key 0, queries 1, 2, …
        row_spread         standard deviation of the scaled scores within a row's past, mean over
                           queries 2, 3, … (a row of one or two keys has hardly a spread)
        entropy            −Σ w ln w / ln(number of keys), mean over queries 2, 3, …: 1 is uniform
                           attention, 0 is all on one key
        share_tiny_weights share of the weights below 0.01, queries 2, 3, …

    A number for which a text is too short is NaN. Raises TypeError for anything but one record.
    """
    if not isinstance(record, AttentionRecord):
        raise TypeError(f"record: expected an AttentionRecord, got {type(record).__name__}")
    chosen = record.raw_scores[..., select_entries(record.n_tokens, entries)].double().numpy()
    layers, heads = np.indices((record.n_layers, record.n_heads)).reshape(2, -1)
    if chosen.shape[-1] == 0:
        chosen = np.full((*chosen.shape[:2], 1), np.nan)
    columns = {
        "n_scores": np.full(chosen.shape[:2], np.isfinite(chosen[0, 0]).sum()),
        "share_below_zero": np.where(np.isnan(chosen), np.nan, chosen < 0).mean(-1),
        "median": np.median(chosen, -1),
        "mean": chosen.mean(-1),
        **_row_statistics(record),
    }
    return pd.DataFrame({"layer": layers, "head": heads} | {name: x.ravel() for name, x in columns.items()})


def _row_statistics(record):
    past = causal_mask(record.n_tokens)
    n_keys = past.sum(-1)
    weights = record.weights().double()
    scaled = record.raw_scores.double() / record.head_size**0.5
    spread = row_means((scaled - row_means(scaled)) ** 2)[..., 0].sqrt()
    entropy = -torch.xlogy(weights, weights).sum(-1) / n_keys.log()
    tiny = weights[..., past & (n_keys[:, None] > 2)] < 0.01
    return {
        "sink_weight": weights[..., 1:, 0].mean(-1).numpy(),
        "row_spread": spread[..., 2:].mean(-1).numpy(),
        "entropy": entropy[..., 2:].mean(-1).numpy(),
        "share_tiny_weights": tiny.double().mean(-1).numpy(),
    }
