"""Changes of the raw scores, to be used with `lm.intervene`: which of them can the softmax see?

Each takes the raw scores of a layer, [batch, head, query, key], unscaled and unmasked, and returns
as many. Only the causal part of a row (keys up to the query) counts as the row. The queries are the last
of the keys' places, so that a step of `generate`, one query and all keys so far, is changed as in a whole text.
"""

from collections.abc import Iterable
from dataclasses import replace

import pandas as pd
import torch

from aero_helpers.attention import Change, past_of, row_means
from aero_helpers.models import CHANGED, LanguageModel
from aero_helpers.parts import plain_profile, without_level
from aero_helpers.recording import AttentionRecord
from aero_helpers.require import is_whole, require_kind, require_number
from aero_helpers.shift import shift_table
from aero_helpers.tokens import require_texts

# In the place of −∞, which a record refuses: the weight is exactly 0 in float32 all the same. Of a record with hidden
# keys the share below 0 and all that comes from weights can be read; means, gaps and spreads of scores can not.
HIDDEN = -1e9


def lift_rows(scores: torch.Tensor, layer: int | None = None) -> torch.Tensor:
    """Add to each row the constant that makes its lowest score 1: no score is negative any more."""
    return scores - scores.masked_fill(~past_of(scores), torch.inf).amin(-1, keepdim=True) + 1


def clip_negative(scores: torch.Tensor, layer: int | None = None) -> torch.Tensor:
    """Set every negative score to 0: no score is negative any more."""
    return scores.clamp(min=0)


def level_alone(scores: torch.Tensor, layer: int | None = None) -> torch.Tensor:
    """Give every score of a row the row's mean: attention to the whole past alike, wherever the level lies."""
    return row_means(scores).expand_as(scores)


def position_alone(profile: torch.Tensor) -> Change:
    """Put the position profile in the scores' place: no word has a say any more.

    `profile`: `position_profile`'s, [layer, head, query, key], of the model and of texts at least as long.
    """

    profile = plain_profile(profile)

    def change(scores, layer=None):
        return _of_layer(profile, layer, scores).expand_as(scores)

    return change


def content_alone(profile: torch.Tensor) -> Change:
    """Take level and position profile away: where a key stands has no say any more. `profile` as above."""

    profile = plain_profile(profile)

    def change(scores, layer=None):
        return without_level(scores) - _of_layer(profile, layer, scores)

    return change


def _of_layer(profile, layer, scores):
    """The part of a profile that lies under scores [..., head, query, key] of one layer, or of all where it is None."""
    n_queries, n_tokens = scores.shape[-2:]
    if layer is not None and layer >= len(profile):
        raise ValueError(f"profile: expected one of the model's layers, {layer} among them, got {list(profile.shape)}")
    of_layer = profile if layer is None else profile[layer]
    if of_layer.shape[-1] < n_tokens or of_layer.shape[:-2] != scores.shape[-of_layer.dim() : -2]:
        expected = f"{list(scores.shape[-of_layer.dim() : -2])}, for texts of {n_tokens} tokens or more"
        raise ValueError(f"profile: expected one of the heads {expected}, got {list(of_layer.shape)}")
    return of_layer[..., n_tokens - n_queries : n_tokens, :n_tokens].to(scores)


def scale_spread(factor: float) -> Change:
    """Keep each row's mean and multiply the distances from it by `factor`."""

    require_number("factor", factor)

    def change(scores, layer=None):
        mean = row_means(scores)
        return mean + factor * (scores - mean)

    return change


def hide_key(key: int) -> Change:
    """Let no later query look at one key; its own query still may. The control for key 0 is another key.

    In a model of rotary positions hiding key 0 in every layer is reading the text without its first token. Raises
    ValueError for a key below 0, and for a text in which no query comes after the key.
    """
    if not is_whole(key) or key < 0:
        raise ValueError(f"key: expected a whole number of at least 0, got {key!r}")

    def change(scores, layer=None):
        if scores.shape[-1] < key + 2:
            raise ValueError(f"key: expected one with a later query, up to {scores.shape[-1] - 2} here, got {key}")
        first_query = scores.shape[-1] - scores.shape[-2]
        changed = scores.clone()
        changed[..., max(key + 1 - first_query, 0) :, key] = HIDDEN
        return changed

    return change


N_HIDDEN = 4  # keys 0 to 3, one at a time
INTERVENTIONS = {
    "add a constant to each row": lift_rows,
    "set negative scores to 0": clip_negative,
    "remove each row's level": without_level,
    "spread × 0.5": scale_spread(0.5),
    "spread × 2": scale_spread(2.0),
    "uniform attention": level_alone,
    **{f"hide key {key}": hide_key(key) for key in range(N_HIDDEN)},
}


LEAST_TOKENS = N_HIDDEN + 1  # for each hidden key to have a later query


def intervention_table(lm: LanguageModel, texts: str | Iterable[str]) -> pd.DataFrame:
    """What each of INTERVENTIONS does to the model on one text or several: a pandas table, the untouched model first.

    share_below_zero and entropy as in `shift_table`, mean over heads and texts, with the model
    running under the intervention in every layer (a hidden entry counts as below zero);
    weight_change, the largest change of any attention weight by the intervention on the untouched
    scores; loss, mean over texts, in nats a token; loss_change. Raises ValueError for a text under LEAST_TOKENS.

    >>> import aero_helpers as aero
    >>> table = aero.intervention_table(aero.load("mini"), ["The old man looked at the sea."])
    >>> table.set_index("intervention")["loss_change"].round(2).abs().head(3)
    intervention
    as it is                      0.00
    add a constant to each row    0.00
    set negative scores to 0      0.14
    Name: loss_change, dtype: float64
    """
    require_kind("lm", lm, LanguageModel)
    if isinstance(texts, str):
        texts = [texts]
    require_texts(texts)
    texts = list(texts)
    if not texts:
        raise ValueError("texts: expected at least one, got none")
    untouched = [lm.record(text) for text in texts]
    for text, record in zip(texts, untouched):
        if record.n_tokens < LEAST_TOKENS:
            raise ValueError(f"texts: expected {LEAST_TOKENS} tokens or more, got {record.n_tokens} in {text!r}")
    rows = []
    for name, change in {"as it is": lambda scores, layer: scores, **INTERVENTIONS}.items():
        with lm.intervene(change):
            tables = pd.concat([shift_table(lm.record(text)) for text in texts])
            loss = sum(lm.loss(text) for text in texts) / len(texts)
        weight_change = max(largest_weight_change(record, change) for record in untouched)
        shares = tables[["share_below_zero", "entropy"]].mean()
        rows.append({"intervention": name, **shares, "weight_change": weight_change, "loss": loss})
    table = pd.DataFrame(rows)
    return table.assign(loss_change=table["loss"] - table["loss"][0])


def changed_record(record: AttentionRecord, change: Change) -> AttentionRecord:
    """A record whose scores went through `change` afterwards: later layers of the model did not hear of it."""
    scores = change(record.raw_scores, None)
    return replace(record, raw_scores=scores, model_name=record.model_name + CHANGED, fingerprint="")


def largest_weight_change(record: AttentionRecord, change: Change) -> float:
    """The largest change of any attention weight when a record's scores are changed."""
    return (changed_record(record, change).weights() - record.weights()).abs().max().item()
