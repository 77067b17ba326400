import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import aero_helpers as aero

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
TOLERANCE = {torch.float16: 4e-3, torch.bfloat16: 3e-2, torch.float32: 1e-5, torch.float64: 1e-12}
shapes = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 9), st.integers(1, 8))
seeds = st.integers(0, 2**31)


def random(seed, *shape, scale=1.0, dtype=torch.float32):
    numbers = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (scale * numbers).to(dtype)


@given(st.integers(1, 40))
def test_mask_lets_each_query_see_itself_and_the_past(n):
    mask = aero.causal_mask(n)
    assert mask.dtype == torch.bool
    assert all(mask[query, key].item() == (key <= query) for query in range(n) for key in range(n))


@given(seeds, st.integers(1, 9), st.floats(0.1, 300), st.sampled_from(FLOATS))
def test_weights_sum_to_one_and_nothing_leaks_from_the_future(seed, n, scale, dtype):
    scores = random(seed, 2, n, n, scale=scale, dtype=dtype)
    weights = aero.attention_weights(scores, 64)
    future = ~aero.causal_mask(n)
    assert weights.dtype == dtype
    assert (weights[..., future] == 0).all()
    assert torch.allclose(weights.double().sum(-1), torch.ones(2, n).double(), atol=TOLERANCE[dtype] * n)
    assert (weights[:, 0, 0] == 1).all()
    changed = scores.masked_fill(future, 1e4)
    assert torch.equal(aero.attention_weights(changed, 64), weights)


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_very_negative_past_lets_nothing_through(dtype):
    """What −10000 in place of −∞ would get wrong, in any precision."""
    scores = torch.tensor([[-40000.0, 5.0], [-40000.0, -40000.0]], dtype=dtype)
    assert aero.attention_weights(scores, 1).tolist() == [[1, 0], [0.5, 0.5]]


@given(seeds, st.integers(1, 9), st.floats(-500, 500))
def test_a_constant_in_each_row_changes_no_weight(seed, n, constant):
    scores = random(seed, n, n, scale=20, dtype=torch.float64)
    shift = constant * random(seed + 1, n, 1, dtype=torch.float64)
    assert torch.allclose(aero.attention_weights(scores + shift, 64), aero.attention_weights(scores, 64), atol=1e-10)


def test_weights_equal_pytorchs_own_attention():
    q, k = random(1, 3, 7, 16), random(2, 3, 7, 16)
    v = torch.eye(7).expand(3, 7, 7)  # with the identity for values, the output is the weights
    own = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1 / math.sqrt(16))
    assert torch.allclose(aero.attention_weights(aero.raw_scores(q, k), 16), own, atol=1e-6)


@given(seeds, shapes)
def test_split_and_merge_are_inverse(seed, shape):
    batch, heads, n, size = shape
    x = random(seed, batch, n, heads * size)
    split = aero.split_heads(x, heads)
    assert split.shape == (batch, heads, n, size)
    assert torch.equal(split[:, -1], x[..., -size:])
    assert torch.equal(aero.merge_heads(split), x)


@given(seeds, shapes)
def test_split_qkv_gives_the_three_thirds_in_order(seed, shape):
    x = random(seed, shape[0], shape[1], 3 * shape[2])
    q, k, v = aero.split_qkv(x)
    assert torch.equal(torch.cat([q, k, v], -1), x)
    assert q.shape == k.shape == v.shape


def test_raw_scores_are_dot_products():
    q, k = random(3, 2, 5, 4), random(4, 2, 5, 4)
    expected = np.einsum("hqd,hkd->hqk", q.numpy(), k.numpy())
    assert np.allclose(aero.raw_scores(q, k).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: aero.causal_mask(0), ValueError, "n_tokens: expected a whole number of at least 1, got 0"),
        (lambda: aero.causal_mask(2.5), ValueError, "got 2.5"),
        (lambda: aero.split_qkv(torch.ones(4, 10)), ValueError, r"divisible by 3, got \[4, 10\]"),
        (lambda: aero.split_qkv(np.ones((4, 12))), TypeError, "expected a torch.Tensor, got ndarray"),
        (lambda: aero.split_heads(torch.ones(4, 10), 4), ValueError, r"got \[4, 10\] \(10 / 4 leaves 2\)"),
        (lambda: aero.split_heads(torch.ones(4, 10), 0), ValueError, "n_heads"),
        (lambda: aero.raw_scores(torch.ones(2, 4, 8), torch.ones(2, 4, 6)), ValueError, r"\[2, 4, 8\] and \[2, 4, 6\]"),
        (lambda: aero.attention_weights(torch.ones(3, 4), 8), ValueError, r"\[..., T, T\] .*, got \[3, 4\]"),
        (lambda: aero.attention_weights(torch.ones(0, 0), 8), ValueError, r"T at least 1, got \[0, 0\]"),
        (lambda: aero.raw_scores(torch.ones(2, 2), torch.ones(2, 2).half()), TypeError, "float32 and torch.float16"),
        (lambda: aero.attention_weights(torch.ones(3, 3), 0), ValueError, "head_size"),
        (lambda: aero.attention_weights(torch.ones(3, 3).long(), 8), TypeError, "floating-point"),
        (lambda: aero.raw_scores(torch.eye(3).to_sparse(), torch.eye(3)), TypeError, "q: expected a dense tensor"),
        (lambda: aero.split_heads(torch.ones(4, 4, device="meta"), 2), TypeError, "16 bits or more, got .*, meta"),
        (lambda: aero.split_qkv(torch.ones(4, 6).to(torch.float8_e4m3fn)), TypeError, "got torch.float8"),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_four_terms_add_up_and_those_with_the_key_bias_are_constant_in_a_row():
    generator = torch.Generator().manual_seed(3)
    q, k = (torch.randn(2, 3, 5, 8, generator=generator) * 4 for _ in range(2))
    b_q, b_k = (torch.randn(2, 3, 8, generator=generator) for _ in range(2))
    terms = aero.score_terms(q, k, b_q, b_k)
    assert list(terms) == ["q·k", "b_Q·k", "q·b_K", "b_Q·b_K"]
    assert (sum(terms.values()) - aero.raw_scores(q, k)).abs().max() < 1e-4
    for query in range(5):
        for key in range(5):
            free_q, free_k = q[1, 2, query] - b_q[1, 2], k[1, 2, key] - b_k[1, 2]
            by_hand = (free_q @ free_k, b_q[1, 2] @ free_k, free_q @ b_k[1, 2], b_q[1, 2] @ b_k[1, 2])
            found = [term[1, 2, query, key].item() for term in terms.values()]
            assert found == pytest.approx([x.item() for x in by_hand], abs=1e-4)
    for name in ("q·b_K", "b_Q·b_K"):
        assert torch.equal(terms[name], terms[name][..., :1].expand_as(terms[name]))


def test_biases_that_do_not_fit_are_named():
    q = torch.ones(2, 5, 8)
    with pytest.raises(ValueError, match=r"b_k: expected \[2, 8\], one a head, got \[8\]"):
        aero.score_terms(q, q, torch.ones(2, 8), torch.ones(8))
    with pytest.raises(TypeError, match=r"q: expected a torch.Tensor, got list"):
        aero.score_terms([1.0], q, torch.ones(2, 8), torch.ones(2, 8))
    with pytest.raises(TypeError, match=r"b_k: expected torch.float32, as k is, got torch.float64"):
        aero.score_terms(q, q, torch.ones(2, 8), torch.ones(2, 8).double())
    with pytest.raises(TypeError, match=r"b_q: expected a torch.Tensor, got list"):
        aero.score_terms(q, q, [1.0], torch.ones(2, 8))
