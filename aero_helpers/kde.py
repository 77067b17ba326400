"""Kernel density estimation: the definition, and a fast way to the same curve.

    f(x) = 1 / (n h) · Σᵢ φ((x − xᵢ) / h),  φ the standard normal density, h the bandwidth.

Silverman 1986, "Density Estimation for Statistics and Data Analysis", sections 2.4 and 3.4. The
fast way is Silverman's AS 176 (1982) with the linear binning of Jones and Lotwick (AS R50, 1984);
its accuracy: Hall and Wand 1994.
"""

from numbers import Real
from typing import NamedTuple

import numpy as np
from scipy.fft import dct
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import brentq

from aero_helpers.arrays import Numbers, is_masked, real_numbers, require_unmasked, same_places

REACH = 6  # bandwidths on each side, beyond which a Gaussian is below 2e-8 of its peak
BINS_PER_BANDWIDTH = 10
LEAST_BINS = 1024
MOST_BINS = 2**22
LARGEST = 1e100  # a value or a bandwidth, and its inverse the smallest bandwidth: squares of more fit no float
FINEST = 1e-10  # a bandwidth in units of the largest value: nothing finer can be told apart
WIDEST = 20  # a bandwidth in units of the bounds' distance: the density is flat long before
ISJ_BINS = 2**14
AT_ONCE = 2**22  # pairs of a value and an x: their memory does not grow with both
ISJ_TIMES = 10.0 ** np.arange(-12, 0)  # squared bandwidths to look for a root below, in units of the grid's reach


class Density(NamedTuple):
    """A density curve: x in the values' unit, y per that unit (its area is 1), the bandwidth in that unit."""

    x: np.ndarray
    y: np.ndarray
    bandwidth: float


def gaussian_sum(values: Numbers, x: Numbers, bandwidth: str | float) -> np.ndarray:
    """The definition: the mean of one Gaussian of width `bandwidth` on each value, at each x.

    Exact, and slow: its work grows as len(values) · len(x). `x` of any shape gives one row of
    numbers; masked values are left out, a masked x is refused. Raises what `density` raises.

    >>> gaussian_sum(np.array([0.0]), np.array([0.0, 1.0]), bandwidth=1.0).round(3)
    array([0.399, 0.242])
    """
    require_unmasked("x", x)
    values, x = _checked(real_numbers(values)), real_numbers(x, "x")
    h = _choose(bandwidth, values, None, (-np.inf, np.inf))
    n_blocks = min(max(1, len(x)), 1 + len(x) * len(values) // AT_ONCE)
    means = [np.exp(-0.5 * ((some[:, None] - values) / h) ** 2).mean(axis=1) for some in np.array_split(x, n_blocks)]
    return np.concatenate(means) / (h * np.sqrt(2 * np.pi))


def density(
    values: Numbers,
    bandwidth: str | float = "scott",
    weights: Numbers | None = None,
    bounds: tuple[float, float] | None = None,
) -> Density:
    """The Gaussian kernel density of all `values` (any shape; masked ones left out): a Density (x, y, bandwidth).

    bandwidth: a positive number in the values' unit, or a rule. With s the standard deviation of n
    values (n − 1 in its denominator):
        "scott"      h = s · n^(−1/5)
        "silverman"  h = s · (3n / 4)^(−1/5)
        "isj"        the improved Sheather-Jones rule, which fits h to the data's own bumps: Botev,
                     Grotowski, Kroese 2010, "Kernel Density Estimation via Diffusion", Ann. Stat. 38(5)
    The first two are those of `scipy.stats.gaussian_kde` and assume one bump; Silverman's own advice,
    0.9 · min(s, IQR / 1.34) · n^(−1/5) (section 3.4.2 of his book), is what R and statsmodels call by
    his name. All assume independent values, which the scores of one text are not: read h as a
    convention.
    weights: as many numbers, not negative: how much each value counts. n is then (Σw)² / Σw², as in
    scipy, so weights that say how often a value occurred choose too wide an h; for these there is
    `density_of_histogram`.
    bounds: (low, high) that no value can pass, as (0, 1) for attention weights, ±inf for an open end.
    What would leak out of them is reflected back (Silverman, section 2.10).

    Each value is shared between the two grid points beside it, then the counts are convolved with
    the Gaussian: the same sum, taken by the grid point instead of by the value.

    Raises ValueError for no values, for NaN or infinity, for an unknown rule, for a bandwidth that is
    not positive, where a rule finds none (constant or single values; for "isj" also too few, too even,
    or repeated ones, as rounding makes them), where the values reach too many bandwidths for a grid,
    for weights that do not fit, for values out of bounds, and for sizes beyond 1e100 and bandwidths below 1e-100.

    >>> curve = density([0.0, 1.0, 2.0])
    >>> f"{curve.bandwidth:.3f}, {len(curve.x)} points"
    '0.803, 1024 points'
    """
    values, weights = _checked_weights(values, weights)
    bounds = _checked_bounds(bounds, values)
    h = _choose(bandwidth, values, weights, bounds)
    if h > WIDEST * (bounds[1] - bounds[0]):
        raise ValueError(f"bandwidth: expected at most {WIDEST} times the bounds' distance, got {h:.3g}")
    x, width = _grid(values, bounds, REACH * h, LEAST_BINS, h / BINS_PER_BANDWIDTH)
    counts = _linear_counts(values, weights, x[0], width, len(x))
    return Density(x, _convolve(counts, h / width) / (counts.sum() * width), h)


def density_of_histogram(counts: Numbers, low: float, width: float, bandwidth: str | float = "scott") -> Density:
    """The same curve from a histogram alone, however many values it counted: a Density.

    counts: how many values lie in each of the bins [low + i·width, low + (i + 1)·width). Each value
    is taken to lie in the middle of its bin, so keep the bins well under the bandwidth. The rules
    are those of `density`; feeding bin middles with weights to `scipy.stats.gaussian_kde` is a
    trap, because it takes the number of bins in use for the number of values.

    Raises ValueError for counts that are negative, all 0, masked or no whole numbers (the rules ask how many
    values there are, and a share does not say), for bins too narrow to be told apart at their place, for what
    `density` refuses, and for a bandwidth under a bin's width.

    >>> curve = density_of_histogram([1, 2, 1], low=-1.5, width=1.0, bandwidth=1.0)  # two values at 0
    >>> f"{curve.y.max():.2f} at {abs(curve.x[curve.y.argmax()]):.1f}"
    '0.32 at 0.0'
    """
    counts, middles = _checked_histogram(counts, low, width)
    n, used = counts.sum(), counts > 0
    in_bins = np.arange(len(counts)) - counts @ np.arange(len(counts)) / n  # a bin is the unit: squares stay small
    deviation = np.sqrt(counts @ in_bins**2 / max(n - 1, 1)) * width
    if isinstance(bandwidth, str):
        _require_two(middles[used], n)
    h = _by_rule(bandwidth, deviation, n, lambda: _isj(counts / n, n) * width)
    if h < width:
        raise ValueError(f"bandwidth: expected at least {width:.3g}, the width of a bin, got {h:.3g}")
    return density(middles[used], h, weights=counts[used])


def _checked_histogram(counts: Numbers, low: float, width: float) -> tuple[np.ndarray, np.ndarray]:
    """(counts, the middles of their bins), both float64, after all guards."""
    masked, flat = is_masked(counts), real_numbers(counts, "counts")
    if hasattr(counts, "iloc") and not counts.index.is_monotonic_increasing:
        raise ValueError(
            "counts: expected bins from low to high, got a Series in another order; .sort_index() makes it"
        )
    if masked or np.shape(counts) != flat.shape:
        got = "a masked array" if masked else f"the shape {list(np.shape(counts))}"
        raise ValueError(f"counts: expected one row of numbers, got {got}")
    counts = flat
    if not all(isinstance(x, Real) and np.isfinite(x) for x in (low, width)) or width <= 0:
        raise ValueError(f"low and width: expected finite numbers, the width above 0, got {low!r} and {width!r}")
    if counts.min() < 0 or counts.max() == 0:
        raise ValueError(f"counts: expected numbers of values, some above 0, got {counts.min():g} to {counts.max():g}")
    if (counts != counts.round()).any():
        raise ValueError(
            f"counts: expected whole numbers of values, got shares or weights, {counts.min():g} to {counts.max():g};"
            " for these give `density` the middles of the bins, a bandwidth as a number, and the shares as weights"
        )
    low, width = float(low), float(width)
    farthest = max(abs(low), abs(low + width * len(counts)))
    if not width >= farthest * FINEST / BINS_PER_BANDWIDTH:
        raise ValueError(f"width: expected bins that can be told apart at {farthest:.4g}, got {width:.3g}")
    return counts, low + width * (np.arange(len(counts)) + 0.5)


def _grid(values, bounds, margin, least_bins, widest):
    """(middles of equal bins, their width): over the values and a margin, cut at the bounds."""
    low, high = max(values.min() - margin, bounds[0]), min(values.max() + margin, bounds[1])
    n_bins = max(least_bins, int(np.ceil((high - low) / widest)))
    if n_bins > MOST_BINS:
        raise ValueError(
            f"bandwidth: expected at least {(high - low) * BINS_PER_BANDWIDTH / MOST_BINS:.3g} for values from"
            f" {values.min():.4g} to {values.max():.4g}, got {widest * BINS_PER_BANDWIDTH:.3g}"
        )
    width = (high - low) / n_bins
    return low + width * (np.arange(n_bins) + 0.5), width


def _linear_counts(values, weights, first, width, n_bins):
    """Counts on a grid, each value shared between its two neighbours by how near they are.

    In half a bin beside a bound one neighbour lies beyond; its share comes back, as a mirror would have it.
    """
    place = np.clip((values - first) / width, 0, n_bins - 1)
    left = place.astype(np.int64)
    right_share = place - left if weights is None else (place - left) * weights
    moved = np.bincount(left, right_share, n_bins)
    counts = np.bincount(left, weights, n_bins) - moved
    counts[1:] += moved[:-1]
    return counts


def _convolve(counts, bandwidth):
    """Counts convolved with a Gaussian, its width in bins. At a bound what leaks out is reflected."""
    return gaussian_filter1d(counts, bandwidth, mode="reflect", truncate=REACH)


def _choose(bandwidth, values, weights, bounds):
    if isinstance(bandwidth, str):
        _require_two(values, len(values))
    n, deviation = _size_and_deviation(values, weights)

    def isj():
        x, width = _grid(values, bounds, np.ptp(values) / 10, ISJ_BINS, np.inf)
        counts = _linear_counts(values, weights, x[0], width, len(x))
        h = _isj(counts / counts.sum(), n) * width
        least = max(width, np.median(np.diff(np.unique(values))))  # values that repeat lie in heaps: each a hill
        if h < least:
            raise ValueError(
                f"bandwidth: 'isj' found {h:.3g}, less than the {least:.3g} that it can tell apart: the values repeat"
                " (rounded?), or reach too far; give another rule or a number"
            )
        return h

    bandwidth = _by_rule(bandwidth, deviation, n, isj)
    least = max(1 / LARGEST, FINEST * np.abs(values).max())
    if not least <= bandwidth <= LARGEST:
        raise ValueError(
            f"bandwidth: expected at least {least:.3g}, which values of this size can tell apart, and at most"
            f" {LARGEST:g}, got {bandwidth:.3g}"
        )
    return bandwidth


def _require_two(values, n):
    if np.ptp(values) < 1 / LARGEST:
        raise ValueError(
            f"values: expected at least two different ones, got {n:.0f} of {values[0]:.6g}:"
            " no rule can choose a bandwidth from them, so give a number"
        )


def _size_and_deviation(values, weights):
    """(effective number of values, their standard deviation), as scipy's `neff` and `covariance` have them."""
    if weights is None:
        return len(values), values.std(ddof=1) if len(values) > 1 else 0.0
    share = weights / weights.sum()
    n = 1 / (share @ share)
    return n, np.sqrt(share @ (values - share @ values) ** 2 / (1 - 1 / n)) if n > 1 else 0.0


def _by_rule(bandwidth: str | float, deviation, n, isj):
    """The bandwidth that a rule gives for n values of that standard deviation; a number stays what it is."""
    if isinstance(bandwidth, str):
        rules = {"scott": lambda: deviation * n**-0.2, "silverman": lambda: deviation * (3 * n / 4) ** -0.2, "isj": isj}
        if bandwidth not in rules:
            raise ValueError(f"bandwidth: expected {', '.join(rules)} or a positive number, got {bandwidth!r}")
        bandwidth = rules[bandwidth]()
    if isinstance(bandwidth, bool) or not isinstance(bandwidth, Real) or not 0 < bandwidth < np.inf:
        raise ValueError(f"bandwidth: expected a rule or a positive number, got {bandwidth!r}")
    return float(bandwidth)


def _isj(shares, n):
    """The improved Sheather-Jones bandwidth, in bins, from the shares of n values in equal bins.

    Botev et al. 2010, algorithm 1: the bandwidth √t that solves t = ξ γ⁽⁵⁾(t), where ‖f⁽ˢ⁾‖² is
    computed from the cosine transform of the bins, each s from the next.
    """
    frequency = np.arange(1, len(shares)) ** 2 * np.pi**2
    power = (dct(shares)[1:] / 2) ** 2

    def excess(t):
        roughness = 2 * np.sum(frequency**7 * power * np.exp(-frequency * t))
        for s in range(6, 1, -1):
            odd_product = np.prod(np.arange(1, 2 * s, 2))
            time = (1 + 0.5 ** (s + 0.5)) / 3 * 2 * odd_product / np.sqrt(2 * np.pi) / (n * roughness)
            roughness = 2 * np.sum(frequency**s * power * np.exp(-frequency * time ** (2 / (3 + 2 * s))))
        return t - (2 * n * np.sqrt(np.pi) * roughness) ** -0.4

    for highest in ISJ_TIMES:  # the smallest root: the equation can have more
        with np.errstate(all="ignore"):
            if excess(highest) > 0 > excess(0.0):
                return np.sqrt(brentq(excess, 0.0, highest, xtol=1e-16)) * len(shares)
    raise ValueError(
        f"bandwidth: 'isj' found none for {n:.0f} values: too few of them, or too even; give another rule or a number"
    )


def _checked_weights(values, weights):
    """(values, weights) without those that count nothing; weights stay None where none are given."""
    if weights is None:
        return _checked(real_numbers(values)), None
    values, weights = same_places(values, "values", weights, "weights")
    if weights.min() < 0 or weights.max() == 0:
        raise ValueError(
            f"weights: expected numbers from 0 up, not all 0, got {weights.min():.4g} to {weights.max():.4g}"
        )
    return _checked(values[weights > 0]), weights[weights > 0] / weights.max()


def _checked_bounds(bounds, values):
    try:
        low, high = (-np.inf, np.inf) if bounds is None else bounds
        if isinstance(bounds, (str, dict, set)) or not all(isinstance(x, Real) for x in (low, high)):
            raise TypeError
        low, high = float(low), float(high)
    except (TypeError, ValueError) as error:
        raise ValueError(f"bounds: expected two numbers, low and high, got {bounds!r}") from error
    if not low < high:
        raise ValueError(f"bounds: expected low < high, got {low} and {high}")
    n_outside = np.sum((values < low) | (values > high))
    if n_outside:
        raise ValueError(
            f"values: expected all within the bounds {low:g} and {high:g}, got {n_outside} outside,"
            f" from {values.min():.4g} to {values.max():.4g}"
        )
    return low, high


def _checked(values):
    if np.abs(values).max() > LARGEST:
        raise ValueError(f"values: expected sizes up to {LARGEST:g}, got {np.abs(values).max():.3g}; use another unit")
    return values
