"""Numbers about a record: where its raw scores lie, and how sparse its attention is."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch

from aero_helpers.arrays import heads_of
from aero_helpers.attention import TINY_WEIGHT, attention_weights, causal_mask, require_tensor, row_means
from aero_helpers.recording import AttentionRecord, of_one_model, require_record
from aero_helpers.require import require_no_gap, require_one_of, require_table

ENTRIES = {
    "causal": "every query with its past and itself",
    "without_key_0": "the same, key 0 left out",
    "without_diagonal": "every query with its past, itself left out",
    "key_0": "key 0 alone, queries 1, 2, …",
    "last_query": "the last query alone, key 0 and itself left out",
    "future": "the entries above the diagonal, which the mask removes",
}
SCORES_AT_ONCE = 2**20  # for whole heads: in float64 and five versions a whole record would not fit beside itself


def select_entries(n_tokens: int, entries: str = "causal") -> torch.Tensor:
    """Which scores of a head to count: bool [query, key].

    `entries` is one of ENTRIES: the choice changes the share below zero a good deal, so it is
    never implied. Raises ValueError for another name.

    >>> select_entries(3, "key_0").int()
    tensor([[0, 0, 0],
            [1, 0, 0],
            [1, 0, 0]], dtype=torch.int32)
    """
    require_one_of("entries", entries, ENTRIES)
    past = causal_mask(n_tokens)
    query = torch.arange(n_tokens, device="cpu")[:, None]
    key = torch.arange(n_tokens, device="cpu")[None, :]
    return {
        "causal": past,
        "without_key_0": past & (key > 0),
        "without_diagonal": past & (key < query),
        "key_0": past & (key == 0) & (query > 0),
        "last_query": past & (query == n_tokens - 1) & (key > 0) & (key < query),
        "future": ~past,
    }[entries]


def shift_table(record: AttentionRecord, entries: str = "causal") -> pd.DataFrame:
    """One row a (layer, head): a pandas table of what its scores and its weights are like.

    Of the raw scores (unscaled) among `entries` (see `select_entries`):
        n_scores, share_below_zero, median, mean.
    Of all rows, whatever `entries` says:
        sink_weight        mean attention weight on key 0, queries 1, 2, …
        sink_gap           scaled score of key 0 minus the mean of the row's other keys, mean over
                           queries 2, 3, …: how far the sink stands out, as the softmax sees it
        row_spread         standard deviation of the scaled scores within a row's past, mean over
                           queries 2, 3, … (a row of one or two keys has hardly a spread)
        entropy            −Σ w ln w / ln(number of keys), mean over queries 2, 3, …: 1 is uniform
                           attention, 0 is all on one key
        share_tiny_weights share of the weights below 0.01, queries 2, 3, …

    A number for which a text is too short is NaN. Raises TypeError for anything but one record.

    >>> import aero_helpers as aero
    >>> table = aero.shift_table(aero.load("mini").record("The old man looked at the sea."))
    >>> table[["layer", "head", "n_scores", "share_below_zero", "entropy"]].round(2).head(3)
       layer  head  n_scores  share_below_zero  entropy
    0      0     0        36              0.67     0.97
    1      0     1        36              0.36     0.89
    2      0     2        36              0.64     0.93
    """
    require_record(record)
    chosen = select_entries(record.n_tokens, entries)
    heads = record.raw_scores.flatten(0, 1).split(max(1, SCORES_AT_ONCE // record.n_tokens**2))
    tables = [pd.DataFrame(_head_statistics(some, chosen, record.head_size)) for some in heads]
    return pd.concat([pd.DataFrame(heads_of(record.shape)), pd.concat(tables, ignore_index=True)], axis=1)


def _head_statistics(scores, chosen, head_size):
    """The columns of `shift_table` for some heads: scores [head, query, key], chosen [query, key]."""
    counted = scores[:, chosen].double().numpy()
    n_scores = counted.shape[-1]
    if not n_scores:
        counted = np.full((len(scores), 1), np.nan)
    return {
        "n_scores": np.full(len(scores), n_scores),
        "share_below_zero": (counted < 0).mean(-1) if n_scores else np.nan,
        "median": np.median(counted, -1),
        "mean": counted.mean(-1),
        **_row_statistics(scores, head_size),
    }


def shift_tables(records: Iterable[AttentionRecord], entries: str = "causal") -> pd.DataFrame:
    """`shift_table` of several records, one row a (text, layer, head); text counts from 0.

    >>> import aero_helpers as aero
    >>> lm = aero.load("mini")
    >>> len(aero.shift_tables([lm.record("He smiled."), lm.record("The sea was calm.")]))  # 2 texts × 6 × 4 heads
    48
    """
    tables = [shift_table(record, entries) for record in of_one_model(records)]
    return pd.concat(tables, keys=range(len(tables)), names=["text", None]).reset_index("text").reset_index(drop=True)


def mean_over_texts(tables: pd.DataFrame) -> pd.DataFrame:
    """What `shift_tables` gives, averaged over the texts: one row a (layer, head).

    Raises ValueError for a table that has no column `text`.

    >>> import aero_helpers as aero
    >>> lm = aero.load("mini")
    >>> tables = aero.shift_tables([lm.record("He smiled."), lm.record("The sea was calm.")])
    >>> len(aero.mean_over_texts(tables))
    24
    """
    require_table("tables", tables, ("text", "layer", "head"))
    require_table("tables", tables, [column for column in tables if column != "text"])  # a mean asks for numbers
    require_no_gap("tables", tables, list(tables))
    return tables.groupby(["layer", "head"], as_index=False).mean().drop(columns="text")


def own_and_other_keys(queries: torch.Tensor, keys: torch.Tensor) -> pd.DataFrame:
    """Each head's queries with the keys of its own head, and with those of the layer's other heads.

    A trap, kept to be shown (lesson 04): it looks like a control and measures nothing. Turn the queries
    and keys of a head by one rotation, and every score of the model stays, while the products with other
    heads' keys become others; one half below 0 is what symmetry gives.

    `queries` [layer, head, T, head_size] and `keys` [layer, key head, T,
    head_size] as `lm.queries_and_keys` returns them; where heads share a key head (grouped-query
    attention), the other key heads are the others. Causal entries.

    Returns a pandas table, one row a (layer, head): share_below_zero and median of raw scores with
    its own keys; other_share_below_zero and other_median with all others, pooled.

    Raises ValueError where there is only one key head, or queries and keys do not fit.

    >>> import aero_helpers as aero
    >>> table = aero.own_and_other_keys(*aero.load("mini").queries_and_keys("The old man looked at the sea."))
    >>> table[["share_below_zero", "other_share_below_zero"]].mean().round(2).to_list()
    [0.67, 0.48]
    """
    require_tensor("queries", queries, least_dims=4)
    require_tensor("keys", keys, least_dims=4)
    queries, keys = queries.detach(), keys.detach()
    if queries.dtype != keys.dtype or not (queries.isfinite().all() and keys.isfinite().all()):
        raise ValueError(
            f"queries and keys: expected finite numbers of one dtype, got {queries.dtype} and {keys.dtype},"
            " or NaN or infinity"
        )
    if queries.dim() != 4 or keys.dim() != 4 or queries[:, 0].shape != keys[:, 0].shape:
        got = f"{list(queries.shape)} and {list(keys.shape)}"
        raise ValueError(f"queries and keys: expected [layer, head, T, head_size] of one text, got {got}")
    n_layers, n_heads, n_tokens, _ = queries.shape
    n_key_heads = keys.shape[1]
    if n_key_heads < 2 or n_heads % n_key_heads:
        raise ValueError(f"keys: expected 2 or more key heads that divide {n_heads} heads, got {n_key_heads}")
    past, rows = select_entries(n_tokens), []
    for layer in range(n_layers):
        for head in range(n_heads):
            scores = queries[layer, head] @ keys[layer].transpose(-1, -2)  # [key head, query, key]
            own_key_head = head // (n_heads // n_key_heads)
            is_other = torch.arange(n_key_heads, device="cpu") != own_key_head
            own, other = scores[own_key_head][past].double(), scores[is_other][:, past].double()
            rows.append((layer, head, *_share_and_median(own), *_share_and_median(other)))
    columns = ["layer", "head", "share_below_zero", "median", "other_share_below_zero", "other_median"]
    return pd.DataFrame(rows, columns=columns)


def term_table(terms: dict[str, torch.Tensor]) -> pd.DataFrame:
    """How large each of `score_terms` is: a pandas table, one row a (term, layer, head).

    `terms`: {name: raw scores [layer, head, query, key]}. Over the causal entries, in the unit of
    raw scores:
        mean       what the term adds to the shift: the means of all terms add up to the scores' mean
        visible    root mean square of what differs within a row, all that a softmax can see
        key_0_gap  the term at key 0 minus its mean over the row's other keys, mean over queries
                   1, 2, …: what it adds to the sink

    >>> terms = {"all": -torch.ones(1, 1, 4, 4)}  # one head whose scores are all −1: nothing that a softmax could see
    >>> term_table(terms)
      term  layer  head  mean  visible  key_0_gap
    0  all      0     0  -1.0      0.0        0.0
    """
    if not isinstance(terms, dict) or not terms:
        raise TypeError(f"terms: expected {{name: raw scores}}, one at least, got {terms!r:.80}")
    rows = []
    for name, scores in terms.items():
        require_tensor(f"terms[{name!r}]", scores, least_dims=4)
        if scores.dim() != 4 or scores.shape[-1] != scores.shape[-2]:
            raise ValueError(f"terms[{name!r}]: expected [layer, head, T, T], got {list(scores.shape)}")
        scores = scores.detach().double()
        if not scores.isfinite().all():
            raise ValueError(f"terms[{name!r}]: expected finite scores, got NaN or infinity")
        past = causal_mask(scores.shape[-1], scores.device)
        within = (scores - row_means(scores)).masked_fill(~past, 0)
        numbers = {
            "mean": scores[..., past].mean(-1),
            "visible": (within**2).sum((-2, -1)).div(past.sum()).sqrt(),
            "key_0_gap": gap_to_key_0(scores)[..., 1:].mean(-1),
        }
        columns = {column: x.numpy().ravel() for column, x in numbers.items()}
        rows.append(pd.DataFrame({"term": name} | heads_of(scores.shape[:2]) | columns))
    return pd.concat(rows, ignore_index=True)


def gap_to_key_0(scores: torch.Tensor) -> torch.Tensor:
    """Key 0's score minus the mean of the row's other past keys: [..., query], NaN for query 0."""
    past = causal_mask(scores.shape[-1], scores.device)
    n_others = torch.arange(scores.shape[-1], device=scores.device)
    return scores[..., 0] - scores.masked_fill(~past, 0)[..., 1:].sum(-1) / n_others


def _share_and_median(scores):
    return (scores < 0).double().mean().item(), float(np.median(scores.numpy()))


def _row_statistics(scores, head_size):
    n_keys = torch.arange(1, scores.shape[-1] + 1, device="cpu")
    weights = attention_weights(scores, head_size).double()
    entropy = -torch.xlogy(weights, weights).sum(-1) / n_keys.double().log()
    tiny = weights[:, causal_mask(len(n_keys)) & (n_keys[:, None] > 2)] < TINY_WEIGHT
    sink_weight = weights[:, 1:, 0].mean(-1)
    del weights
    scaled = scores.double() / head_size**0.5
    spread = row_means((scaled - row_means(scaled)) ** 2)[..., 0].sqrt()
    return {
        "sink_weight": sink_weight.numpy(),
        "sink_gap": gap_to_key_0(scaled)[:, 2:].mean(-1).numpy(),
        "row_spread": spread[:, 2:].mean(-1).numpy(),
        "entropy": entropy[:, 2:].mean(-1).numpy(),
        "share_tiny_weights": tiny.double().mean(-1).numpy(),
    }
