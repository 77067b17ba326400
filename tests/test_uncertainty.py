import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr, ttest_rel
from statsmodels.stats.multitest import multipletests

import aero_helpers as aero
from aero_helpers.exercises import check


def mean(table):
    return table.x.mean()


def clustered(seed, n_texts=20, n_rows=40):
    """Rows around 0: a text's own level has as much variance as the rows within a text."""
    rng = np.random.default_rng(seed)
    text = np.repeat(np.arange(n_texts), n_rows)
    return pd.DataFrame({"text": text, "x": rng.normal(size=n_texts)[text] + rng.normal(size=len(text))})


def test_the_interval_covers_the_truth_as_often_as_it_says_and_the_naive_one_does_not():
    covered = naive_covered = 0
    for seed in range(200):
        table = clustered(seed)
        low, high = aero.interval(table, mean, by="text", n_resamples=300)
        covered += low <= 0 <= high
        naive_covered += abs(table.x.mean()) <= 1.96 * table.x.std() / np.sqrt(len(table))
    assert 0.89 <= covered / 200 <= 0.99
    assert naive_covered / 200 < 0.5


def test_the_interval_is_as_wide_as_theory_says():
    table = clustered(1)
    low, high = aero.interval(table, mean, by="text")
    of_texts = table.groupby("text").x.mean()
    assert high - low == pytest.approx(2 * 1.96 * of_texts.std() / np.sqrt(20), rel=0.1)
    narrower = aero.interval(clustered(1), mean, by="text", level=0.5)
    assert narrower[1] - narrower[0] < 0.5 * (high - low)


def test_the_interval_is_the_same_each_time_and_does_not_mind_the_order_of_rows():
    table = clustered(2)
    assert aero.interval(table, mean, by="text") == aero.interval(table, mean, by="text")
    shuffled = aero.interval(table.sample(frac=1, random_state=0), mean, by="text")
    assert shuffled == pytest.approx(aero.interval(table, mean, by="text"))


def test_five_groups_are_enough_and_more_drawings_are_another_answer():
    table = clustered(3, n_texts=5)
    low, high = aero.interval(table, mean, by="text")
    assert low < table.x.mean() < high
    assert aero.interval(table, mean, by="text", n_resamples=50) != (low, high)


def test_a_text_drawn_twice_counts_as_two_even_where_the_statistic_groups_by_text():
    table = clustered(4)
    of_texts = aero.interval(table, lambda t: t.groupby("text").x.mean().mean(), by="text")
    assert of_texts == pytest.approx(aero.interval(table, mean, by="text"), abs=1e-6)


def test_a_statistic_of_few_values_has_the_percentile_interval():
    table = pd.DataFrame({"text": range(9), "x": [0.0] * 7 + [1, 1]})
    assert aero.interval(table, lambda t: t.x.median(), by="text") == (0, 1)


def test_a_few_drawings_without_an_answer_are_left_out_and_many_are_not():
    table = pd.DataFrame({"text": range(8), "x": range(8)})
    often = aero.interval(table, lambda t: t.x.mean() if 0 in t.x.to_numpy() else np.nan, by="text")
    assert np.isnan(often).all()
    seldom = aero.interval(table, lambda t: t.x.mean() if t.x.nunique() > 3 else np.nan, by="text")
    assert 1.5 < seldom[0] < 3.5 < seldom[1] < 5.5


def test_the_statistic_cannot_spoil_the_table():
    def spoil(table):
        table["x"] *= 2
        return table.x.mean()

    table = clustered(5)
    before = table.copy()
    aero.interval(table, spoil, by="text", n_resamples=30)
    pd.testing.assert_frame_equal(table, before)


def test_a_statistic_that_does_not_vary_has_an_interval_of_no_width():
    table = pd.DataFrame({"text": np.repeat(np.arange(6), 3), "x": 2.5})
    assert aero.interval(table, mean, by="text") == (2.5, 2.5)


@pytest.mark.parametrize("answer", [None, "a", (1, 2), [1.0], np.ones(1), pd.Series([1.0])], ids=repr)
def test_a_statistic_that_is_not_one_number_is_refused(answer):
    with pytest.raises(TypeError, match="statistic: expected a function that returns one number, got"):
        aero.interval(clustered(0), lambda table: answer, by="text")


@pytest.mark.parametrize("answer", [1, 2.5, np.float32(2.5), np.array(2.5)], ids=repr)
def test_one_number_may_come_as_any_kind_of_number(answer):
    assert aero.interval(clustered(0), lambda table: answer, by="text") == (answer, answer)


def test_the_order_of_the_rows_makes_no_difference():
    table = clustered(3)
    shuffled = table.sample(frac=1, random_state=1)
    assert aero.interval(shuffled, mean, by="text") == pytest.approx(aero.interval(table, mean, by="text"))
    with pytest.raises(ValueError, match="expected a name in each row of 'text', got NaN"):
        aero.interval(table.assign(text=table.text.where(table.text > 0)), mean, by="text")


def test_a_column_may_be_named_by_a_number():
    table = clustered(3)
    assert aero.interval(table.rename(columns={"text": 0}), mean, by=0) == aero.interval(table, mean, by="text")


def test_bad_questions_are_refused():
    with pytest.raises(ValueError, match="by: expected one of text, x, got 'texts'"):
        aero.interval(clustered(0), mean, by="texts")
    with pytest.raises(ValueError, match="expected at least 5 groups by 'text', got 4"):
        aero.interval(clustered(0, n_texts=4), mean, by="text")
    for wrong in ({"level": 95}, {"level": 0}, {"n_resamples": 2}):
        with pytest.raises(ValueError, match="level and n_resamples: expected 0 < level < 1 and 20 or more, got"):
            aero.interval(clustered(0), mean, by="text", **wrong)
    with pytest.raises(ValueError, match="columns: expected one of text, x, got 'y'"):
        aero.rank_correlation(clustered(0), "x", "y")
    with pytest.raises(ValueError, match="expected numbers in 'x', got complex128"):
        aero.rank_correlation(clustered(0).assign(x=1j), "x", "text")


def test_rank_correlation_is_scipys():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": rng.integers(0, 9, 60), "y": rng.normal(size=60)})  # with ties
    assert aero.rank_correlation(table, "x", "y") == pytest.approx(spearmanr(table.x, table.y).statistic)
    assert np.isnan(aero.rank_correlation(table.assign(x=1), "x", "y"))
    for n in (24, 25):  # nothing is left of x once z, which has its ranks, is held fixed
        x = rng.normal(size=n)
        same = pd.DataFrame({"x": x, "z": 2 * x, "y": rng.normal(size=n)})
        assert np.isnan(aero.rank_correlation(same, "x", "y", given="z"))


def test_the_partial_correlation_is_that_of_what_the_third_leaves_unexplained():
    rng = np.random.default_rng(1)
    z = rng.normal(size=300)
    table = pd.DataFrame({"x": z + rng.normal(size=300), "y": z + rng.normal(size=300), "z": z})
    ranks = table.rank().to_numpy()
    design = np.column_stack([np.ones(300), ranks[:, 2]])
    left = [ranks[:, i] - design @ np.linalg.lstsq(design, ranks[:, i], rcond=None)[0] for i in (0, 1)]
    assert aero.rank_correlation(table, "x", "y", given="z") == pytest.approx(np.corrcoef(left)[0, 1])
    assert aero.rank_correlation(table, "x", "y") > 0.3 > abs(aero.rank_correlation(table, "x", "y", given="z"))


def test_holm_in_exercise_5_of_lesson_06_is_statsmodels_holm():
    for a, b in check.heads_apart.inputs:
        expected = multipletests(ttest_rel(a, b).pvalue, 0.05, method="holm")[0].sum()
        assert check.heads_apart.right(a, b) == expected
