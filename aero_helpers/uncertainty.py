"""How sure a number is: intervals over what was drawn at random, and rank correlations over heads."""

import warnings
from collections.abc import Callable, Hashable
from numbers import Real

import numpy as np
import pandas as pd
from pandas.api.types import is_complex_dtype, is_numeric_dtype
from scipy.stats import bootstrap, rankdata

from aero_helpers.require import require_count, require_number, require_one_of, require_table

SEED = 0


def interval(
    table: pd.DataFrame,
    statistic: Callable[[pd.DataFrame], float],
    by: Hashable,
    level: float = 0.95,
    n_resamples: int = 1000,
) -> tuple[float, float]:
    """(low, high): a bootstrap interval of `statistic(table)`, whole groups of rows drawn anew.

    `table` is a pandas table, and `by` names the column of what was drawn at random and
    independently: the text, say. The rows of one text belong together, so a text is drawn with all
    of its rows or not at all; an interval from single rows would claim far more than is known.
    `statistic` takes a table and returns a number. In the tables that it gets groups have numbers
    for names, because one that is drawn twice counts as two: it may group by them, and not look at
    what they are. Bias-corrected and accelerated (BCa): Efron
    1987, "Better Bootstrap Confidence Intervals", by `scipy.stats.bootstrap`, seeded. Where
    BCa has no answer (a statistic that takes few values, a few drawn tables for which it is not a
    number), the plain percentiles; (NaN, NaN) where more than one drawn table in twenty gives none.

    Raises ValueError where there is no such column, or fewer than 5 groups in it: too few to say
    how they vary; for a statistic that changes with the names of the groups, for a level that does not lie between 0
    and 1, and for under 20 resamples.

    >>> import pandas as pd
    >>> table = pd.DataFrame({"text": range(20), "x": range(20)})
    >>> low, high = interval(table, lambda t: t.x.mean(), by="text")
    >>> f"{low:.1f} to {high:.1f}"
    '7.0 to 11.9'
    """
    require_table("table", table)
    require_one_of("by", by, tuple(table))
    require_number("level", level)
    require_count("n_resamples", n_resamples)
    if not callable(statistic):
        raise TypeError(f"statistic: expected a function of a table, got {type(statistic).__name__}")
    if not 0 < level < 1 or n_resamples < 20:
        raise ValueError(f"level and n_resamples: expected 0 < level < 1 and 20 or more, got {level} and {n_resamples}")
    if table[by].isna().any():
        raise ValueError(f"table: expected a name in each row of {by!r}, got NaN")
    numbers = table.groupby(by, observed=True).ngroup().to_numpy()  # sorted: the order of the rows makes no difference
    groups = [np.flatnonzero(numbers == i) for i in range(numbers.max(initial=-1) + 1)]
    if len(groups) < 5:
        raise ValueError(f"table: expected at least 5 groups by {by!r}, got {len(groups)}")

    def of_groups(drawn):
        rows = table.iloc[np.concatenate([groups[i] for i in drawn])].copy()
        own_number = np.repeat(np.arange(len(drawn)), [len(groups[i]) for i in drawn])
        rows[by] = own_number  # a group drawn twice counts as two groups
        return _one_number(statistic(rows))

    _require_nameless(statistic, table, by, numbers)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # where BCa has no answer, it says so in NaN
        found = bootstrap(
            (np.arange(len(groups)),),
            of_groups,
            vectorized=False,
            n_resamples=n_resamples,
            confidence_level=level,
            rng=np.random.default_rng(SEED),
        )
    if np.isfinite(found.confidence_interval).all():
        low, high = found.confidence_interval
        return float(low), float(high)
    drawn = found.bootstrap_distribution[np.isfinite(found.bootstrap_distribution)]
    if len(drawn) < 0.95 * n_resamples:
        return np.nan, np.nan
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _require_nameless(statistic, table, by, numbers):
    """Raise ValueError for a statistic that is another one when the groups get other names, in another order."""
    expected = _one_number(statistic(table.copy()))
    for names in (numbers, numbers.max() - numbers):
        renamed = table.copy()
        renamed[by] = names
        got = _one_number(statistic(renamed))
        if not np.isclose(got, expected, rtol=1e-6, atol=1e-9, equal_nan=True):
            raise ValueError(
                f"statistic: expected one that does not look at the names in {by!r}, which are drawn numbers in an"
                f" interval's tables, got {expected:.6g}, and with other names {got:.6g}; keep what it looks for in a"
                " column of its own"
            )


def _one_number(value):
    if not isinstance(value, Real) and not (isinstance(value, np.ndarray) and value.ndim == 0):
        raise TypeError(f"statistic: expected a function that returns one number, got {type(value).__name__}")
    return float(value)


def rank_correlation(table: pd.DataFrame, x: str, y: str, given: str | None = None) -> float:
    """Spearman's ρ of the columns x and y over the rows of a table; `given` a third, the partial one.

    The partial correlation asks whether x and y still go together among rows that are alike in
    `given`: (ρ_xy − ρ_xz ρ_yz) / √((1 − ρ_xz²)(1 − ρ_yz²)), Kendall and Stuart, "The Advanced Theory of
    Statistics", volume 2, chapter 27. NaN where a column is constant or, for
    the partial one, where z has the ranks of x or y.

    Raises ValueError for a column that is not there.

    >>> import pandas as pd
    >>> rank_correlation(pd.DataFrame({"x": [1, 2, 3], "y": [1, 4, 9]}), "x", "y")
    1.0
    """
    require_table("table", table)
    names = [x, y] if given is None else [x, y, given]
    for name in names:
        require_one_of("columns", name, tuple(table))
        if not is_numeric_dtype(table[name]) or is_complex_dtype(table[name]):
            raise ValueError(f"columns: expected numbers in {name!r}, got {table[name].dtype}")
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = np.corrcoef([rankdata(table[name]) for name in names])
        if given is None:
            return float(rho[0, 1])
        unexplained = (1 - rho[0, 2] ** 2) * (1 - rho[1, 2] ** 2)
        if unexplained < 1e-12:  # one of them is nothing but z: what is left is rounding
            return np.nan
        return float((rho[0, 1] - rho[0, 2] * rho[1, 2]) / np.sqrt(unexplained))
