"""How sure a number is: intervals over what was drawn at random, and rank correlations over heads."""

import numpy as np
from scipy.stats import bootstrap, rankdata

SEED = 0


def interval(table, statistic, by, level=0.95, n_resamples=1000):
    """(low, high): a bootstrap interval of `statistic(table)`, whole groups of rows drawn anew.

    `table` is a pandas table, and `by` names the column of what was drawn at random and
    independently: the text, say. The rows of one text belong together, so a text is drawn with all
    of its rows or not at all; an interval from single rows would claim far more than is known.
    `statistic` takes a table and returns a number. Bias-corrected and accelerated (BCa): Efron
    1987, "Better Bootstrap Confidence Intervals", by `scipy.stats.bootstrap`, seeded. (NaN, NaN)
    where the statistic is not a number for some of the drawn tables.

    Raises ValueError where there is no such column, or fewer than 5 groups in it: too few to say
    how they vary.
    """
    if by not in table:
        raise ValueError(f"by: expected one of {', '.join(map(str, table))}, got {by!r}")
    groups = list(table.groupby(by).indices.values())
    if len(groups) < 5:
        raise ValueError(f"table: expected at least 5 groups by {by!r}, got {len(groups)}")

    def of_groups(drawn):
        return statistic(table.iloc[np.concatenate([groups[i] for i in drawn])])

    if np.ptp([of_groups(np.delete(np.arange(len(groups)), i)) for i in range(len(groups))]) == 0:
        value = float(statistic(table))  # leaving out any group changes nothing: BCa would divide 0 by 0
        return value, value
    found = bootstrap(
        (np.arange(len(groups)),),
        of_groups,
        vectorized=False,
        n_resamples=n_resamples,
        confidence_level=level,
        rng=np.random.default_rng(SEED),
    )
    return tuple(map(float, found.confidence_interval))


def rank_correlation(table, x, y, given=None):
    """Spearman's ρ of the columns x and y over the rows of a table; `given` a third, the partial one.

    The partial correlation asks whether x and y still go together among rows that are alike in
    `given`: (ρ_xy − ρ_xz ρ_yz) / √((1 − ρ_xz²)(1 − ρ_yz²)), Kendall and Stuart, "The Advanced Theory of
    Statistics", volume 2, chapter 27. NaN where a column is constant.

    Raises ValueError for a column that is not there.
    """
    names = [name for name in (x, y, given) if name is not None]
    missing = [name for name in names if name not in table]
    if missing:
        raise ValueError(f"columns: expected some of {', '.join(map(str, table))}, got {', '.join(map(repr, missing))}")
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = np.corrcoef([rankdata(table[name]) for name in names])
        if given is None:
            return float(rho[0, 1])
        return float((rho[0, 1] - rho[0, 2] * rho[1, 2]) / np.sqrt((1 - rho[0, 2] ** 2) * (1 - rho[1, 2] ** 2)))
