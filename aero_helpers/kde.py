"""Kernel density estimation: the definition, and a fast way to the same curve.

    f(x) = 1 / (n h) · Σᵢ φ((x − xᵢ) / h),  φ the standard normal density, h the bandwidth.

Silverman 1986, "Density Estimation for Statistics and Data Analysis", sections 2.4 and 3.4. The
fast way is Silverman's AS 176 (1982) with the linear binning of Jones and Lotwick (AS R50, 1984);
its accuracy: Hall and Wand 1994.
"""

from numbers import Real
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter1d

REACH = 6  # bandwidths on each side, beyond which a Gaussian is below 2e-8 of its peak
BINS_PER_BANDWIDTH = 10
LEAST_BINS = 1024
MOST_BINS = 2**22


class Density(NamedTuple):
    """A density curve: x in the values' unit, y per that unit (its area is 1), the bandwidth in that unit."""

    x: np.ndarray
    y: np.ndarray
    bandwidth: float


def gaussian_sum(values, x, bandwidth):
    """The definition: the mean of one Gaussian of width `bandwidth` on each value, at each x.

    Exact, and slow: its work grows as len(values) · len(x). `x` of any shape gives one row of
    numbers. Raises what `density` raises.
    """
    values, x = _checked(values), _checked(x, "x")
    h = _choose(bandwidth, values)
    z = (x[:, None] - values[None, :]) / h
    return np.exp(-0.5 * z**2).mean(axis=1) / (h * np.sqrt(2 * np.pi))


def density(values, bandwidth="scott"):
    """The Gaussian kernel density of all `values` (any shape): a Density (x, y, bandwidth).

    bandwidth: "scott" or "silverman", as in `scipy.stats.gaussian_kde`, or a positive number in
    the values' unit. With s the standard deviation of n values (n − 1 in its denominator):
        scott      h = s · n^(−1/5)
        silverman  h = s · (3n / 4)^(−1/5)
    Both assume one bump and independent values; the scores of one text are neither, so read h as
    a convention.

    Each value is shared between the two grid points beside it, then the counts are convolved with
    the Gaussian: the same fog, added up by the grid point instead of by the value.

    Raises ValueError for no values, for NaN or infinity, for an unknown rule, for a bandwidth
    that is not positive, where a rule meets constant or single values, and where the values reach
    too many bandwidths for a grid.
    """
    values = _checked(values)
    h = _choose(bandwidth, values)
    low, high = values.min() - REACH * h, values.max() + REACH * h
    n_bins = max(LEAST_BINS, int(np.ceil((high - low) / h * BINS_PER_BANDWIDTH)))
    if n_bins > MOST_BINS:
        raise ValueError(
            f"bandwidth: expected at least {(high - low) * BINS_PER_BANDWIDTH / MOST_BINS:.3g} for values from"
            f" {values.min():.4g} to {values.max():.4g}, got {h:.3g}"
        )
    x, width = np.linspace(low, high, n_bins, retstep=True)
    counts = _linear_counts(values, low, width, n_bins)
    y = gaussian_filter1d(counts, h / width, mode="constant", truncate=REACH) / (len(values) * width)
    return Density(x, y, h)


def density_of_histogram(counts, low, width, bandwidth="scott"):
    """The same curve from a histogram alone, however many values it counted: a Density.

    counts: how many values lie in each of the bins [low + i·width, low + (i + 1)·width). Each value
    is taken to lie in the middle of its bin, so keep the bins well under the bandwidth. The rules
    are those of `density`; feeding bin middles with weights to `scipy.stats.gaussian_kde` is a
    trap, because it takes the number of bins in use for the number of values.

    Raises ValueError for counts that are negative or all 0, for what `density` refuses of a
    bandwidth, and for a bandwidth under a bin's width.
    """
    counts = _checked(counts, "counts")
    n = counts.sum()
    if counts.min() < 0 or n == 0:
        raise ValueError(f"counts: expected numbers of values, some above 0, got {counts.min():g} to {counts.max():g}")
    middles = low + width * (np.arange(len(counts)) + 0.5)
    mean = counts @ middles / n
    deviation = np.sqrt(counts @ (middles - mean) ** 2 / max(n - 1, 1))
    h = _by_rule(bandwidth, deviation, n)
    if h < width:
        raise ValueError(f"bandwidth: expected at least {width:.3g}, the width of a bin, got {h:.3g}")
    beyond = int(np.ceil(REACH * h / width))
    x = low + width * (np.arange(-beyond, len(counts) + beyond) + 0.5)
    y = gaussian_filter1d(np.pad(counts, beyond), h / width, mode="constant", truncate=REACH) / (n * width)
    return Density(x, y, h)


def _linear_counts(values, low, width, n_bins):
    """Counts on a grid, each value shared between its two neighbours by how near they are."""
    place = (values - low) / width
    left = place.astype(np.int64)
    right_share = place - left
    return np.bincount(left, 1 - right_share, n_bins) + np.bincount(left + 1, right_share, n_bins)


def _choose(bandwidth, values):
    if isinstance(bandwidth, str) and len(values) and np.ptp(values) == 0:
        raise ValueError(
            f"values: expected at least two different ones, got {len(values)} of {values[0]:.6g}:"
            " no rule can choose a bandwidth from them, so give a number"
        )
    bandwidth = _by_rule(bandwidth, values.std(ddof=1) if len(values) > 1 else 0, len(values))
    least = max(np.finfo(float).tiny, 1e-10 * np.abs(values).max())
    if bandwidth < least:
        raise ValueError(
            f"bandwidth: expected at least {least:.3g}, which values of this size can tell apart, got {bandwidth:.3g}"
        )
    return float(bandwidth)


def _by_rule(bandwidth, deviation, n):
    """The bandwidth that a rule gives for n values of that standard deviation; a number stays what it is."""
    if isinstance(bandwidth, str):
        factors = {"scott": 1.0, "silverman": (3 / 4) ** -0.2}
        if bandwidth not in factors:
            raise ValueError(f"bandwidth: expected {', '.join(factors)} or a positive number, got {bandwidth!r}")
        bandwidth = float(deviation * factors[bandwidth] * n**-0.2)
    if isinstance(bandwidth, bool) or not isinstance(bandwidth, Real) or not 0 < bandwidth < np.inf:
        raise ValueError(f"bandwidth: expected a rule or a positive number, got {bandwidth!r}")
    return float(bandwidth)


def _checked(values, name="values"):
    if hasattr(values, "detach"):  # a torch tensor, wherever it is and whatever its precision
        values = values.detach().cpu().double()
    try:
        values = np.asarray(values, dtype=np.float64).ravel()
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name}: expected numbers, got {type(values).__name__} ({error})") from error
    if not len(values):
        raise ValueError(f"{name}: expected at least one number, got none")
    if not np.isfinite(values).all():
        raise ValueError(
            f"{name}: expected finite numbers, got {np.isnan(values).sum()} NaN and {np.isinf(values).sum()} infinite"
            f" among {len(values)} (masked scores are −∞: leave them out first)"
        )
    return values
