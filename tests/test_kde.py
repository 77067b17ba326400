import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from KDEpy import FFTKDE
from KDEpy.bw_selection import improved_sheather_jones
from scipy.stats import gaussian_kde, norm
from statsmodels.nonparametric.kde import KDEUnivariate

import aero_helpers as aero

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
        ([1, 2], 0.0, 1.0, 1e7, "bandwidth: expected at most"),
        ([0, 0], 0.0, 1.0, 2.0, "counts: expected numbers of values, some above 0"),
    ],
)
def test_bad_histograms_are_named(counts, low, width, bandwidth, words):
    with pytest.raises(ValueError, match=words):
        aero.density_of_histogram(counts, low, width, bandwidth)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"weights": [1.0]}, "weights: expected 3 numbers from 0 up, not all 0, got 1 of 1 to 1"),
        ({"weights": [1.0, -1.0, 1.0]}, "got 3 of -1 to 1"),
        ({"weights": [0.0, 0.0, 0.0]}, "got 3 of 0 to 0"),
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
