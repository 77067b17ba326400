import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import gaussian_kde, norm

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
        ([1.0, 2.0], "best", "expected scott, silverman or a positive number, got 'best'"),
        ([1.0, 2.0], 0, "expected a rule or a positive number, got 0"),
        ([1.0, 2.0], float("nan"), "got nan"),
        ([0.0, 1e6], 1e-3, "values from 0 to 1e.06"),
        (["a"], "scott", "expected numbers, got list"),
        ([10**400, 1], "scott", "expected numbers, got list"),
        ([0.3] * 5 + [0.1 + 0.2], "scott", "which values of this size can tell apart"),
        ([1.0, 2.0], 1e-17, "which values of this size can tell apart"),
    ],
)
def test_bad_input_is_named(values, bandwidth, words):
    with pytest.raises(ValueError, match=words):
        aero.density(values, bandwidth)
