import tracemalloc

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from KDEpy import FFTKDE
from KDEpy.bw_selection import improved_sheather_jones
from scipy.stats import gaussian_kde, norm
from statsmodels.nonparametric.kde import KDEUnivariate

import aero_helpers as aero
from aero_helpers import plots
from aero_helpers.kde import density_of_histogram, gaussian_sum

RNG = np.random.default_rng(0)
SAMPLES = {
    "one bump": RNG.normal(-9, 4, 3000),
    "two bumps": np.concatenate([RNG.normal(-15, 3, 2000), RNG.normal(12, 2, 500)]),
    "heavy tails": RNG.standard_t(2, 2000),
    "few": np.array([0.0, 0.1, 5.0]),
}


@pytest.mark.parametrize("rule", ["scott", "silverman"])
@pytest.mark.parametrize("name", SAMPLES)
def test_density_is_scipys(name, rule):
    values = SAMPLES[name]
    ours, theirs = aero.density(values, rule), gaussian_kde(values, bw_method=rule)
    assert ours.bandwidth == pytest.approx(theirs.factor * values.std(ddof=1))
    assert np.abs(ours.y - theirs(ours.x)).max() < 1e-3 * ours.y.max()


MIXTURES = {  # (share, mean, standard deviation) of each bump
    "one bump": [(1, -9, 4)],
    "scores and a sink": [(0.9, -15, 8), (0.1, 20, 1)],
    "far apart": [(0.5, -100, 1), (0.5, 100, 1)],
}


def draw(mixture, n):
    rng = np.random.default_rng(n)
    return np.concatenate([rng.normal(mean, deviation, int(share * n)) for share, mean, deviation in mixture])


def expected_error(mixture, n, h):
    """The mean integrated squared error of a density with bandwidth h: Marron and Wand 1992, Ann. Stat. 20(2)."""
    share, mean, deviation = np.array(mixture, float).T

    def overlap(extra):
        widths = np.sqrt(deviation[:, None] ** 2 + deviation**2 + extra)
        return share @ norm.pdf(mean[:, None] - mean, scale=widths) @ share

    noise = 1 / (2 * np.sqrt(np.pi) * n * h)
    return noise + (1 - 1 / n) * overlap(2 * h**2) - 2 * overlap(h**2) + overlap(0)


@pytest.mark.parametrize("name", MIXTURES)
@pytest.mark.parametrize("n", [2000, 200_000])
def test_isj_comes_near_the_least_possible_error_and_scott_does_not(name, n):
    values = draw(MIXTURES[name], n)
    least = min(expected_error(MIXTURES[name], n, h) for h in np.geomspace(0.01, 20, 400))
    errors = {
        rule: expected_error(MIXTURES[name], n, aero.density(values, rule).bandwidth) for rule in ("isj", "scott")
    }
    assert errors["isj"] < 1.2 * least
    if name != "one bump":
        assert errors["scott"] > 2 * least


def test_isj_is_kdepys_fixed_point_on_its_own_grid():
    """KDEpy 1.1.12 multiplies by the values' range, its grid being twice as wide: its issue 199."""
    for name in ("one bump", "two bumps"):
        theirs = 2 * improved_sheather_jones(SAMPLES[name][:, None])
        assert aero.density(SAMPLES[name], "isj").bandwidth == pytest.approx(theirs, rel=0.01)


def test_isj_moves_and_grows_with_the_values():
    values = SAMPLES["two bumps"]
    h = aero.density(values, "isj").bandwidth
    assert aero.density(values * 1e-4 + 7, "isj").bandwidth == pytest.approx(h * 1e-4, rel=1e-3)
    counts, edges = np.histogram(values, bins=4000)
    width = edges[1] - edges[0]
    assert aero.density_of_histogram(counts, edges[0], width, "isj").bandwidth == pytest.approx(h, rel=0.02)


@pytest.mark.parametrize("rule", ["scott", "silverman", 0.7])
def test_weights_are_scipys_statsmodels_and_kdepys(rule):
    values = SAMPLES["two bumps"]
    weights = np.random.default_rng(1).gamma(0.5, size=len(values))
    ours = aero.density(values, rule, weights)
    exact = gaussian_kde(values, ours.bandwidth / np.sqrt(np.cov(values, aweights=weights)), weights)
    assert np.abs(ours.y - exact(ours.x)).max() < 1e-3 * ours.y.max()
    if rule != 0.7:
        theirs = gaussian_kde(values, rule, weights)
        assert ours.bandwidth == pytest.approx(np.sqrt(theirs.covariance[0, 0]))
    fitted = KDEUnivariate(values).fit("gau", ours.bandwidth, fft=False, weights=weights)
    assert np.abs(fitted.evaluate(ours.x) - ours.y).max() < 1e-3 * ours.y.max()
    x = np.linspace(ours.x[0] - 9, ours.x[-1] + 9, 2**12)
    kdepy = FFTKDE("gaussian", ours.bandwidth).fit(values, weights).evaluate(x)
    assert np.abs(np.interp(ours.x, x, kdepy) - ours.y).max() < 3e-3 * ours.y.max()


def test_equal_weights_change_nothing():
    for rule in ("scott", "isj"):
        plain, weighted = (aero.density(SAMPLES["two bumps"], rule, w) for w in (None, np.full(2500, 0.3)))
        assert np.allclose(plain.y, weighted.y) and plain.bandwidth == pytest.approx(weighted.bandwidth)


@pytest.mark.parametrize("bounds", [(0, 1), (0, np.inf), (-np.inf, 1)])
def test_bounds_reflect_what_would_leak(bounds):
    """Against the definition: mirror images of the values, added to the fog."""
    values = np.random.default_rng(2).beta(0.5, 4, 3000)
    low, high = bounds
    ours = aero.density(values, 0.05, bounds=bounds)
    images = [values, *(2 * bound - values for bound in bounds if np.isfinite(bound))]
    expected = sum(aero.gaussian_sum(image, ours.x, 0.05) for image in images)
    assert np.abs(ours.y - expected).max() < 1e-3 * expected.max()
    assert ours.y.sum() * (ours.x[1] - ours.x[0]) == pytest.approx(1, abs=1e-6)
    assert low < ours.x[0] and ours.x[-1] < high
    flat = aero.density(np.linspace(0, 1, 10001), 0.1, bounds=(0, 1))
    assert np.abs(flat.y - 1).max() < 1e-3  # unreflected, the ends of a uniform density sink to one half
    assert aero.density(flat.x, 5.0, bounds=(0, 1)).y == pytest.approx(1, abs=1e-3)  # mirrors of mirrors


def test_values_on_a_bound_are_kept_and_isj_works_between_bounds():
    curve = aero.density([0.0, 0.0, 1.0, 1.0], 0.02, bounds=(0, 1))
    assert curve.y.sum() * (curve.x[1] - curve.x[0]) == pytest.approx(1, abs=1e-9)
    assert curve.y[0] == pytest.approx(norm.pdf(0, 0, 0.02), rel=0.02)  # half of the fog twice
    assert 0.005 < aero.density(np.random.default_rng(3).beta(2, 5, 20_000), "isj", bounds=(0, 1)).bandwidth < 0.05


@pytest.mark.parametrize(
    ("counts", "low", "width", "bandwidth", "words"),
    [
        ([1, 2], np.nan, 1.0, 2.0, "low and width: expected finite numbers, the width above 0, got nan and 1.0"),
        ([1, 2], 0.0, -1.0, 2.0, "got 0.0 and -1.0"),
        ([[1, 2]], 0.0, 1.0, 2.0, r"counts: expected one row of numbers, got the shape \[1, 2\]"),
        ([1, 2], 0.0, 1.0, 0.5, "bandwidth: expected at least 1, the width of a bin, got 0.5"),
        ([1, 2], 0.0, 1.0, 1e107, "and at most 1e.100, got 1e.107"),
        ([1, 2], 1e9, 1e-9, 2e-9, r"width: expected bins that can be told apart at 1e\+09, got 1e-09"),
        ([1, 2], 1e300, 1e299, 1e300, "values: expected sizes up to"),
        ([0.5, 0.3, 0.2], 0.0, 1.0, 2.0, "counts: expected whole numbers of values, got shares or weights, 0.2 to 0.5"),
        (np.ma.array([1, 2, 3], mask=[0, 1, 0]), 0.0, 1.0, 2.0, "counts: expected one row of numbers, got a masked"),
        ([0, 7, 0], 0.0, 1.0, "scott", "values: expected at least two different ones, got 7 of 1.5"),
        ([1, np.nan], 0.0, 1.0, 2.0, "counts: expected finite numbers, got 1 NaN"),
        ([1 + 1j, 2], 0.0, 1.0, 2.0, "counts: expected numbers, got list"),
        ([0, 0], 0.0, 1.0, 2.0, "counts: expected numbers of values, some above 0"),
    ],
)
def test_bad_histograms_are_named(counts, low, width, bandwidth, words):
    with pytest.raises(ValueError, match=words):
        aero.density_of_histogram(counts, low, width, bandwidth)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"weights": [1.0]}, "weights: expected 3 numbers, as many as values, got 1"),
        ({"weights": [1.0, -1.0, 1.0]}, "got -1 to 1"),
        ({"weights": [0.0, 0.0, 0.0]}, "got 0 to 0"),
        ({"weights": [1.0, np.nan, 1.0]}, "weights: expected finite numbers"),
        ({"bounds": (0, 1)}, "expected all within the bounds 0 and 1, got 1 outside, from 0.1 to 2"),
        ({"bounds": (1, 0)}, "expected low < high, got 1.0 and 0.0"),
        ({"bounds": (0, 3), "bandwidth": 100.0}, "expected at most 20 times the bounds' distance, got 100"),
        ({"bounds": 3}, "expected two numbers, low and high, got 3"),
        ({"bounds": (0, np.nan)}, "expected low < high"),
    ],
)
def test_bad_weights_and_bounds_are_named(more, words):
    with pytest.raises(ValueError, match=words):
        aero.density([0.1, 0.2, 2.0], **more)


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30), st.floats(0.05, 20))
@settings(deadline=None)
def test_area_is_one_and_no_value_is_lost(values, bandwidth):
    curve = aero.density(values, bandwidth)
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(1, abs=1e-5)
    assert curve.x[0] < min(values) and curve.x[-1] > max(values)
    assert np.trapezoid(curve.x * curve.y, curve.x) == pytest.approx(np.mean(values), abs=1e-3)


def test_the_definition_is_a_mean_of_gaussians():
    values, x = np.array([-2.0, 0.5, 4.0]), np.linspace(-6, 8, 29)
    expected = norm.pdf(x[:, None], loc=values, scale=0.7).mean(axis=1)
    assert np.allclose(aero.gaussian_sum(values, x, 0.7), expected, atol=1e-12)


def test_tensors_and_any_shape_are_taken():
    values = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(aero.density(values).y, aero.density(values.numpy().ravel()).y)
    assert aero.density(values.bfloat16().requires_grad_()).bandwidth == pytest.approx(
        aero.density(values).bandwidth, rel=0.01
    )
    assert np.allclose(aero.gaussian_sum([1.0, 2.0], [[0.0, 0.0]], 1.0), 0.148, atol=1e-3)


def test_one_value_with_a_bandwidth_is_one_gaussian():
    curve = aero.density([2.0], 0.5)
    assert np.abs(curve.y - norm.pdf(curve.x, 2, 0.5)).max() < 1e-3 * curve.y.max()


@pytest.mark.parametrize(
    ("values", "bandwidth", "words"),
    [
        ([], "scott", "expected at least one number, got none"),
        ([1.0, np.nan, np.inf], "scott", "got 1 NaN and 1 infinite among 3"),
        ([0.1] * 7, "scott", "expected at least two different ones, got 7 of 0.1"),
        ([3.0], "silverman", "got 1 of 3"),
        ([1.0, 2.0], "best", "expected scott, silverman, isj or a positive number, got 'best'"),
        ([1.0, 2.0], 0, "expected a rule or a positive number, got 0"),
        ([1.0, 2.0], float("nan"), "got nan"),
        ([0.0, 1e6], 1e-3, "values from 0 to 1e.06"),
        (["a"], "scott", "expected numbers, got list"),
        ([10**400, 1], "scott", "expected numbers, got list"),
        ([0.3] * 5 + [0.1 + 0.2], "scott", "which values of this size can tell apart"),
        (np.arange(300) // 100, "isj", "'isj' found .* less than the .* the values repeat"),
        (np.append(RNG.normal(0, 1, 2000), 1e6), "isj", "or reach too far"),
        ([1.0, 2.0], 1e-17, "which values of this size can tell apart"),
        ([1.0, 2.0], "isj", "'isj' found none for 2 values: too few of them, or too even"),
    ],
)
def test_bad_input_is_named(values, bandwidth, words):
    with pytest.raises(ValueError, match=words):
        aero.density(values, bandwidth)


# what somebody brings: the same numbers in another dress, and what no dress can keep


def same_curve(a, b):
    return a.bandwidth == pytest.approx(b.bandwidth, rel=1e-12) and np.allclose(a.x, b.x) and np.allclose(a.y, b.y)


NUMBERS = np.random.default_rng(5).normal(3, 2, 240).astype(np.float32)
MASKED = np.ma.array(np.r_[NUMBERS, 1e6, np.nan], mask=[0] * 240 + [1, 1])


@pytest.mark.parametrize(
    "values",
    [
        NUMBERS[::-1],
        NUMBERS.reshape(4, 60).T,
        NUMBERS.tolist(),
        [NUMBERS[:120], NUMBERS[120:]],
        pd.Series(NUMBERS, index=range(500, 740)),
        pd.Series(NUMBERS)[pd.Series(NUMBERS).index[::-1]],
        pd.Series(NUMBERS, dtype="Float64"),
        pd.DataFrame({"x": NUMBERS})["x"],
        torch.tensor(NUMBERS),
        torch.tensor(NUMBERS, requires_grad=True),
        torch.tensor(NUMBERS).view(4, 60).T,
        NUMBERS.astype(object),
        MASKED,
        MASKED.reshape(2, 121),
        [MASKED[:121], MASKED[121:]],
        np.ma.array(NUMBERS),
    ],
)
def test_the_dress_of_the_values_does_not_matter(values):
    wanted = aero.density(NUMBERS)
    assert same_curve(aero.density(values), wanted)
    assert aero.explore_bandwidth(values).controls["bandwidth"].value == pytest.approx(wanted.bandwidth)
    plt.close(plots.bandwidth_view(values, 1.0))
    assert np.allclose(gaussian_sum(values, wanted.x[::50], 1.0), gaussian_sum(NUMBERS, wanted.x[::50], 1.0))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([1 + 1j, 2]), "values: expected numbers, got ndarray .of complex128"),
        (torch.tensor([1 + 1j, 2]), "values: expected a plain tensor of real numbers, got one of torch.complex64"),
        (torch.eye(3).to_sparse(), "values: expected a plain tensor of real numbers, got one of torch.float32"),
        (np.array(["2024-01-01", "2024-01-03"], "datetime64[D]"), "values: expected numbers, got ndarray"),
        (np.array([1, 3], "timedelta64[s]"), "values: expected numbers, got ndarray"),
        (np.array(["1", "2"]), "values: expected numbers, got ndarray"),
        (pd.Series([1, None, 3], dtype="Int64"), "values: expected (numbers, got Series|finite numbers, got 1 NaN)"),
        (pd.DataFrame({"layer": [0, 1], "mean": [0.5, 0.7]}), "got a table; take one of its columns 'layer', 'mean'"),
        ({"a": 1.0}, "values: expected numbers, got dict"),
        ((x for x in [1.0, 2.0]), "values: expected numbers, got generator"),
        (np.ma.array([1.0, 2.0], mask=True), "values: expected at least one number, got none that is not masked"),
        (np.ma.array([1.0, np.nan, 3.0], mask=[1, 0, 0]), "values: expected finite numbers, got 1 NaN"),
        (np.array([1.0, 2.0]) * 1e200, "values: expected sizes up to 1e.100, got 2e.200"),
    ],
)
@pytest.mark.parametrize("function", [aero.density, aero.explore_bandwidth, lambda x: gaussian_sum(x, [0.0], 1.0)])
def test_what_cannot_be_kept_is_refused(function, values, words):
    with pytest.raises((ValueError, TypeError), match=words):
        function(values)


def test_a_rule_refuses_values_too_close_to_square_their_distance():
    with pytest.raises(ValueError, match="values: expected at least two different ones, got 2 of 1e-200"):
        aero.density([1e-200, 2e-200])


@pytest.mark.parametrize("change", [lambda x: x.round(2), lambda x: np.repeat(x, 3), lambda x: x.round(1)])
def test_isj_says_where_values_repeat(change):
    """To it each heap of equal values is a hill, hundreds of times as narrow as what the values were drawn from."""
    values = np.random.default_rng(0).normal(size=500)
    assert 0.2 < aero.density(values, "isj").bandwidth < 0.5
    with pytest.raises(ValueError, match=r"'isj' found .* the values repeat"):
        aero.density(change(values), "isj")


def test_weights_stand_where_their_values_stand():
    x = pd.Series([1.0, 2.0, 4.0], index=[0, 1, 2])
    for values, weights in ((np.ones((2, 3)), np.ones((3, 2))), (x, x.sort_values(ascending=False))):
        with pytest.raises(ValueError, match="weights: expected one for each of values, in its place"):
            aero.density(values, weights=weights)


def test_the_definition_takes_many_values_at_many_places_in_bounded_memory():
    values, x = np.zeros(10**5), np.linspace(-1, 1, 10**4)
    tracemalloc.start()
    assert gaussian_sum(values, x[:500], 1.0)[0] == pytest.approx(norm.pdf(-1))
    assert tracemalloc.get_traced_memory()[1] < 200e6
    tracemalloc.stop()


def test_masked_weights_and_values_are_left_out_together():
    weights = np.random.default_rng(0).random(240) + 0.1
    wanted = aero.density(np.delete(NUMBERS, [3, 7]), weights=np.delete(weights, [3, 7]))
    at_3, at_7 = np.arange(240) == 3, np.arange(240) == 7
    values, weights = np.ma.array(NUMBERS, mask=at_3), np.ma.array(weights, mask=at_7)
    assert same_curve(aero.density(values, weights=weights), wanted)
    assert same_curve(aero.density(values.reshape(2, 120), weights=weights), wanted)
    with pytest.raises(ValueError, match="weights: expected 239 numbers, as many as values, got 238"):
        aero.density(values, weights=weights[:239])
    with pytest.raises(ValueError, match="x: expected a number everywhere, got a masked array"):
        gaussian_sum(NUMBERS, np.ma.array([0.0, 1.0], mask=[0, 1]), 1.0)


@pytest.mark.parametrize("scale", [1e-99, 1e-20, 2.0**-30, 3.0, 1e20, 1e98])
@pytest.mark.parametrize("rule", ["scott", "silverman", "isj"])
def test_the_unit_of_the_values_does_not_matter(scale, rule):
    curve, wanted = aero.density(NUMBERS * np.float64(scale), rule), aero.density(NUMBERS, rule)
    assert curve.bandwidth == pytest.approx(wanted.bandwidth * scale, rel=1e-6)
    assert np.allclose(curve.x / scale, wanted.x) and np.allclose(curve.y * scale, wanted.y, atol=1e-9)
    counts, edges = np.histogram(NUMBERS, 300)
    low, width = float(edges[0]), float(edges[1] - edges[0])
    small, plain = (
        density_of_histogram(counts, low * scale, width * scale, rule),
        density_of_histogram(counts, low, width, rule),
    )
    assert small.bandwidth == pytest.approx(plain.bandwidth * scale, rel=1e-6)
    assert np.allclose(small.y * scale, plain.y, atol=1e-9)


@pytest.mark.parametrize(
    ("n_bins", "bandwidth"), [(100, 1e4), (100, 7e5), (3, 1e8), (100, 1.0), (8192, 1.0), (8192, 3e3)]
)
def test_a_histogram_costs_no_more_for_a_wide_bandwidth_and_stays_the_definition(n_bins, bandwidth):
    counts = np.random.default_rng(1).integers(0, 5, n_bins)
    curve = density_of_histogram(counts, 0, 1, bandwidth)
    assert len(curve.x) <= 12 * n_bins / min(bandwidth, n_bins) * 10 + 1100
    points = slice(None, None, len(curve.x) // 50)
    exact = gaussian_sum(np.repeat(np.arange(n_bins) + 0.5, counts), curve.x[points], bandwidth)
    assert np.allclose(curve.y[points], exact, atol=2e-3 * exact.max())
