"""A score has three parts, and the softmax sees two: level, position, content.

    raw score [query, key] = level [query] + position [query, key] + content [query, key]

Level is the mean of a row over its past: the softmax over keys cannot see it. Position is what is left
of a row on the mean over many texts: it depends on where query and key stand, and on no word. Content
is the rest: what these words do at these places. The mean over texts has to come from other texts than
those that are measured, or their own words pass for position.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch

from aero_helpers.arrays import heads_of, plain_tensor
from aero_helpers.attention import causal_mask, past_of, row_means
from aero_helpers.recording import AttentionRecord, of_one_model
from aero_helpers.require import require_no_gap, require_one_of, require_table


def position_profile(records: Iterable[AttentionRecord]) -> torch.Tensor:
    """The mean of the records' scores, each row less its level: float32 [layer, head, query, key], the future 0.

    `records`: any iterable of records of one model and one length (`record.first` cuts them), which are
    read one by one. With n records a part 1/n of the content is left in it.

    Raises TypeError for anything but records, ValueError where there are none or they differ in model or length.

    >>> import aero_helpers as aero
    >>> lm = aero.load("mini")
    >>> texts = aero.shuffled_texts(aero.read_scenes(), 3)
    >>> aero.position_profile(lm.record(text, truncate=16) for text in texts).shape
    torch.Size([6, 4, 16, 16])
    """
    total, n, n_tokens = torch.zeros((), dtype=torch.float64, device="cpu"), 0, None
    for record in of_one_model(records):
        n_tokens = n_tokens or record.n_tokens
        if record.n_tokens != n_tokens:
            raise ValueError(f"records: expected records of one length, got {n_tokens} tokens and {record.n_tokens}")
        total, n = total + without_level(record.raw_scores.double()), n + 1
    return (total / n).float()


def part_table(records: Iterable[AttentionRecord], profile: torch.Tensor) -> pd.DataFrame:
    """How large the three parts are: a pandas table, one row a (layer, head).

    level, position, content: shares of the mean square of the causal raw scores of rows 1, 2, … (row 0 has
        one score, all level), the rows of all records pooled; they sum to 1. level: what the rows' means
        hold. content: what is left when level and profile are taken away. position = 1 − level − content:
        what the profile explains; below 0 where it explains nothing and only adds noise.
    mean_square: that mean square itself, in squared units of the raw score: weights for means over heads.

    `records`: any iterable of records of one model, none longer than the profile, which was made from
    other texts (`position_profile`).

    Raises TypeError for anything but records, ValueError where there are none, they are of several models or
    one has under 2 tokens, and for a profile of other heads or of shorter texts.

    >>> import aero_helpers as aero
    >>> lm = aero.load("mini")
    >>> *some, other = [lm.record(text, truncate=16) for text in aero.shuffled_texts(aero.read_scenes(), 4)]
    >>> table = aero.part_table([other], aero.position_profile(some))
    >>> bool(np.allclose(table[["level", "position", "content"]].sum(axis=1), 1))
    True
    """
    profile = plain_profile(profile).double()
    sums, n_scores = np.zeros(()), 0
    for record in of_one_model(records):
        if profile.shape[:2] != record.shape or profile.shape[-1] < record.n_tokens:
            raise ValueError(
                f"profile: expected [{record.n_layers}, {record.n_heads}, T, T] with T at least {record.n_tokens},"
                f" got {list(profile.shape)}"
            )
        if record.n_tokens < 2:
            raise ValueError("records: expected texts of 2 tokens or more, got one of 1: its score is all level")
        scores = record.raw_scores.double()[..., 1:, :]
        past = causal_mask(record.n_tokens)[1:]
        visible = without_level(record.raw_scores.double())[..., 1:, :]
        content = (visible - profile[..., 1 : record.n_tokens, : record.n_tokens]) * past
        squares = [(scores * past) ** 2, visible**2, content**2]
        sums = sums + torch.stack([square.sum((-2, -1)) for square in squares]).numpy()
        n_scores += int(past.sum())
    total, visible, content = sums
    with np.errstate(invalid="ignore"):  # a head whose scores are all 0 has no shares
        shares = {"level": 1 - visible / total, "position": (visible - content) / total, "content": content / total}
    columns = {name: share.ravel() for name, share in shares.items()}
    return pd.DataFrame(heads_of(total.shape) | columns | {"mean_square": (total / n_scores).ravel()})


def pooled_parts(table: pd.DataFrame, by: str | None = None) -> pd.DataFrame | pd.Series:
    """`part_table`'s shares over several heads, each head weighted by its mean square: a row for each value of `by`.

    With `by` None one row for all heads: a Series of level, position and content.

    >>> shares = {"level": [1.0, 0.0], "position": [0.0, 0.5], "content": [0.0, 0.5]}
    >>> pooled_parts(pd.DataFrame(shares | {"mean_square": [3.0, 1.0]})).to_dict()
    {'level': 0.75, 'position': 0.125, 'content': 0.125}
    """
    names = ["level", "position", "content"]
    require_table("table", table, [*names, "mean_square"])
    if table.loc[table["mean_square"] != 0, [*names, "mean_square"]].isna().any(axis=None):
        raise ValueError("table: expected part_table's, got NaN among the shares of heads that have a mean square")
    if (table["mean_square"] < 0).any():
        raise ValueError("table: expected mean squares from 0 up, got a negative one")
    if by is not None:
        require_one_of("by", by, tuple(table))
        require_no_gap("table", table, [by])
    squares = table[names].mul(table["mean_square"], axis=0)
    if by is None:
        return squares.sum() / table["mean_square"].sum()
    return squares.groupby(table[by]).sum().div(table.groupby(by)["mean_square"].sum(), axis=0)


def without_level(scores: torch.Tensor, layer: int | None = None) -> torch.Tensor:
    """Subtract from each row the mean of its past, and put 0 in the future: all that the softmax sees is kept."""
    return (scores - row_means(scores)).masked_fill(~past_of(scores), 0)


def plain_profile(profile: object) -> torch.Tensor:
    """A position profile as a tensor; TypeError for no tensor or array, ValueError for another shape or NaN in it."""
    if not isinstance(profile, (torch.Tensor, np.ndarray)):
        raise TypeError(f"profile: expected what position_profile returns, got {type(profile).__name__}")
    profile = plain_tensor(profile, "profile")
    if profile.dim() != 4 or profile.shape[-1] != profile.shape[-2] or not profile.isfinite().all():
        raise ValueError(f"profile: expected finite numbers [layer, head, T, T], got {list(profile.shape)}")
    return profile
