import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import entropy

import aero_helpers as aero
from aero_helpers.shift import ENTRIES


@pytest.fixture(scope="module")
def small():
    scores = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0)) * 9 - 4
    return aero.AttentionRecord(list("abcdef"), scores, 16, "random")


def test_choices_of_entries_are_what_they_say():
    n = 5
    for name, rule in {
        "causal": lambda q, k: k <= q,
        "without_key_0": lambda q, k: 0 < k <= q,
        "without_diagonal": lambda q, k: k < q,
        "key_0": lambda q, k: k == 0 < q,
        "last_query": lambda q, k: q == n - 1 and 0 < k < q,
        "future": lambda q, k: k > q,
    }.items():
        expected = [[rule(q, k) for k in range(n)] for q in range(n)]
        assert aero.select_entries(n, name).tolist() == expected, name
    with pytest.raises(ValueError, match=r"expected one of causal, .* got 'all'"):
        aero.select_entries(n, "all")
    with pytest.raises(TypeError, match="expected an AttentionRecord, got list"):
        aero.shift_table([])


def test_every_column_against_a_loop_over_rows(small):
    table = aero.shift_table(small, "without_key_0").set_index(["layer", "head"])
    weights = small.weights().numpy()
    for (layer, head), row in table.iterrows():
        scores = small.raw_scores[layer, head].numpy()
        chosen = np.array([scores[q, k] for q in range(6) for k in range(1, q + 1)])
        rows = [weights[layer, head, q, : q + 1] for q in range(2, 6)]
        assert row.n_scores == 15
        assert row.share_below_zero == pytest.approx((chosen < 0).mean())
        assert row["median"] == pytest.approx(np.median(chosen), abs=1e-5)
        assert row["mean"] == pytest.approx(chosen.mean(), abs=1e-5)
        assert row.sink_weight == pytest.approx(weights[layer, head, 1:, 0].mean(), abs=1e-6)
        gaps = [(scores[q, 0] - scores[q, 1 : q + 1].mean()) / 4 for q in range(2, 6)]
        assert row.sink_gap == pytest.approx(np.mean(gaps), abs=1e-5)
        assert row.row_spread == pytest.approx(np.mean([np.std(scores[q, : q + 1] / 4) for q in range(2, 6)]), abs=1e-5)
        assert row.entropy == pytest.approx(np.mean([entropy(r) / np.log(len(r)) for r in rows]), abs=1e-5)
        assert row.share_tiny_weights == pytest.approx((np.concatenate(rows) < 0.01).mean(), abs=1e-6)


def test_rows_come_in_order_of_layer_and_head(small):
    table = aero.shift_table(small)
    assert table[["layer", "head"]].to_numpy().tolist() == [[i, j] for i in range(2) for j in range(3)]


def test_centring_rows_removes_the_shift_and_nothing_else(small):
    past = aero.causal_mask(6)
    mean = (small.raw_scores * past).sum(-1, keepdim=True) / past.sum(-1, keepdim=True)
    centred = aero.AttentionRecord(small.tokens, small.raw_scores - mean, 16, "centred")
    before, after = aero.shift_table(small), aero.shift_table(centred)
    assert abs(after["mean"]).max() < 1e-5 < abs(before["mean"]).min()
    for column in ("entropy", "row_spread", "sink_weight", "sink_gap", "share_tiny_weights"):
        assert np.allclose(before[column], after[column], atol=1e-5)


def test_uniform_attention_has_entropy_one_and_chance_on_key_0():
    table = aero.shift_table(aero.AttentionRecord(list("abcd"), torch.zeros(1, 1, 4, 4), 8, "flat"))
    assert table.entropy[0] == pytest.approx(1)
    assert table.sink_weight[0] == pytest.approx((1 / 2 + 1 / 3 + 1 / 4) / 3)
    assert table.row_spread[0] == 0


@pytest.mark.parametrize("entries", ENTRIES)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_short_texts_give_nan_where_there_is_nothing_to_count(entries, n):
    table = aero.shift_table(aero.AttentionRecord(["a"] * n, torch.ones(1, 2, n, n), 8, "short"), entries)
    counted = int(aero.select_entries(n, entries).sum())
    assert table.n_scores.tolist() == [counted] * 2
    assert table.share_below_zero.isna().all() == (counted == 0)
    assert table.sink_weight.isna().all() == (n == 1)
    assert table.entropy.isna().all() == (n < 3)


def test_an_untrained_model_has_half_of_its_scores_below_zero(full_size):
    table = aero.shift_table(full_size.untrained().record("the old man and the sea " * 8))
    assert abs(table.share_below_zero.mean() - 0.5) < 0.03
    assert isinstance(table, pd.DataFrame) and len(table) == 144


def test_tables_of_several_records_stand_under_each_other(small):
    longer = aero.AttentionRecord(list("abcdefgh"), torch.randn(2, 3, 8, 8), 16, "random")
    tables = aero.shift_tables([small, longer], "key_0")
    assert tables.text.tolist() == [0] * 6 + [1] * 6 and tables.n_scores.unique().tolist() == [5, 7]
    second = tables[tables.text == 1].drop(columns="text").reset_index(drop=True)
    pd.testing.assert_frame_equal(second, aero.shift_table(longer, "key_0"))
    mean = aero.mean_over_texts(tables)
    assert mean[["layer", "head"]].to_numpy().tolist() == [[i, j] for i in range(2) for j in range(3)]
    assert mean["mean"].tolist() == pytest.approx(
        ((tables["mean"][:6].to_numpy() + second["mean"].to_numpy()) / 2).tolist()
    )
    with pytest.raises(ValueError, match="expected at least one AttentionRecord, got none"):
        aero.shift_tables([])
    other = aero.AttentionRecord(list("abc"), torch.zeros(1, 1, 3, 3), 16, "another")
    with pytest.raises(ValueError, match=r"expected records of one model, got .*random.*another"):
        aero.shift_tables([small, other])
    with pytest.raises(ValueError, match="tables: expected the columns text, layer, head, and rows, got layer, head"):
        aero.mean_over_texts(aero.shift_table(small))


def test_large_half_precision_scores_do_not_overflow():
    scores = torch.full((1, 1, 300, 300), 500.0).half()
    scores[..., 0] = 600
    sizes = aero.term_table({"all": scores.requires_grad_()}).iloc[0]
    assert sizes.key_0_gap == pytest.approx(100) and np.isfinite(sizes.visible)


def test_own_and_other_keys_against_a_loop_over_pairs_of_heads():
    """Four heads of queries that share two heads of keys."""
    generator = torch.Generator().manual_seed(5)
    q, k = torch.randn(2, 4, 6, 8, generator=generator), torch.randn(2, 2, 6, 8, generator=generator) + 0.3
    table = aero.own_and_other_keys(q, k).set_index(["layer", "head"])
    for (layer, head), row in table.iterrows():
        own, other = head // 2, 1 - head // 2
        for prefix, key_head in (("", own), ("other_", other)):
            pairs = [float(q[layer, head, i] @ k[layer, key_head, j]) for i in range(6) for j in range(i + 1)]
            assert row[prefix + "share_below_zero"] == pytest.approx(np.mean(np.array(pairs) < 0))
            assert row[prefix + "median"] == pytest.approx(np.median(pairs), abs=1e-5)
    with pytest.raises(ValueError, match="expected 2 or more key heads that divide 4 heads, got 1"):
        aero.own_and_other_keys(q, k[:, :1])
    with pytest.raises(ValueError, match=r"of one text, got \[2, 4, 6, 8\] and \[2, 2, 5, 8\]"):
        aero.own_and_other_keys(q, k[:, :, :5])


def test_the_control_with_other_heads_keys_measures_nothing(mini):
    """Queries and keys of a head turned by the same rotation: the model is the same, the "control" is not."""
    q, k = mini.queries_and_keys(aero.read_scenes()[0].text)
    generator, found = torch.Generator().manual_seed(0), []
    before = aero.own_and_other_keys(q, k)
    for _ in range(20):
        turn = torch.linalg.qr(torch.randn(*q.shape[:2], 32, 32, generator=generator)).Q
        assert (aero.raw_scores(q @ turn, k @ turn) - aero.raw_scores(q, k)).abs().max() < 1e-3
        table = aero.own_and_other_keys(q @ turn, k @ turn)
        assert table.share_below_zero.to_numpy() == pytest.approx(before.share_below_zero.to_numpy(), abs=2e-3)
        found.append(table.other_share_below_zero.groupby(table.layer).mean())
    found = pd.concat(found, axis=1)
    assert (found.max(axis=1) - found.min(axis=1)).max() > 0.2  # one layer's number, in models that are one model
    assert found.to_numpy().mean() == pytest.approx(0.5, abs=0.05)  # what symmetry gives


def test_terms_are_measured_as_they_say(mini):
    text = aero.read_scenes()[1].text
    record = mini.record(text)
    matrices = mini.head_matrices()
    terms = aero.score_terms(*mini.queries_and_keys(text), matrices.b_q, matrices.b_k)
    sizes = aero.term_table(terms)
    table = aero.shift_table(record)
    means = sizes.groupby(["layer", "head"])["mean"].sum()
    assert np.allclose(means, table["mean"], atol=1e-3)
    assert sizes[sizes.term.str.endswith("b_K")][["visible", "key_0_gap"]].abs().max().max() < 1e-3
    # one term alone, the whole score: what is visible is the spread within rows
    alone = aero.term_table({"all": record.raw_scores}).iloc[9]
    scores = record.head_scores(2, 1).double().numpy()
    rows = [scores[i, : i + 1] for i in range(record.n_tokens)]
    within = np.concatenate([row - row.mean() for row in rows])
    assert alone.visible == pytest.approx(np.sqrt((within**2).mean()), rel=1e-4)
    assert alone.key_0_gap == pytest.approx(np.mean([row[0] - row[1:].mean() for row in rows[1:]]), rel=1e-4)


MEMORY = """
import resource
import torch
import aero_helpers as aero

megabytes = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
aero.shift_table(aero.AttentionRecord(["a"] * 9, torch.zeros(1, 1, 9, 9), 64, "small"))
before = megabytes()
record = aero.AttentionRecord(["a"] * 500, torch.zeros(12, 12, 500, 500), 64, "large")  # twice: it keeps its own
aero.shift_table(record)
print((megabytes() - before) / (record.raw_scores.numel() * 4 / 2**20))
"""


def test_a_shift_table_takes_no_more_than_the_record_again():
    run = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 2.5
