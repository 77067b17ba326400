"""The findings are what the code measures, and the pages are what findings.json says."""

import json

import make_findings
import numpy as np
import pytest
import torch
from conftest import ROOT
from recordings import read_longer, read_prompts, read_queries_and_keys, seen_scores

import aero_helpers as aero

NUMBERS = json.loads((ROOT / "docs" / "findings.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("language", ["vi", "en"])
def test_the_pages_are_written_from_the_numbers(language):
    path = ROOT / "docs" / make_findings.PAGES[language]["file"]
    assert path.read_text(encoding="utf-8") == make_findings.page(NUMBERS, language), "run `make findings`"


def assert_alike(measured, kept):
    for label, value in kept.items():
        numbers = [value, measured[label]] if not isinstance(value, list) else [*zip(value, measured[label])]
        for ours, theirs in [numbers] if not isinstance(value, list) else numbers:
            if ours is None or isinstance(ours, str):
                assert ours == theirs, label
            else:
                assert theirs == pytest.approx(ours, abs=0.02, nan_ok=True), label


def test_minis_column_is_measured_again():
    lm = aero.load("mini")
    assert_alike(make_findings.measure(lm), NUMBERS["mini"])


def test_gpt2s_column_is_measured_again(shared):
    assert_alike(make_findings.measure_recorded(shared), NUMBERS["recorded"])


def labels(*tables):
    return {row[0] for table in tables for row in table if len(row) > 2}


def test_every_number_has_a_command_and_every_claim_a_verdict():
    rows = [row for table in make_findings.TABLES[:1] + make_findings.TABLES[2:] for row in table[1]]
    names = [row[0] for row in rows if len(row) > 2]
    assert len(set(names)) == len(names)
    for row in rows:
        assert all(row) if len(row) == 2 else row[3]
    for i, row in enumerate(rows):
        if len(row) == 2:
            assert all(rows[i + 1][-2:]), row


@pytest.mark.parametrize("column", ["untrained", "mini", "smollm2"])
def test_a_model_answers_every_row_at_every_length(column):
    numbers = NUMBERS[column]
    asked = labels(make_findings.CLAIMS, make_findings.LINKS, make_findings.MATRICES, make_findings.TERMS)
    asked |= {"p" + label for label in labels(make_findings.CLAIMS)} | labels(make_findings.RAMP)
    asked |= {f"{label}.{n}" for label in labels(make_findings.BY_LENGTH) for n in make_findings.LENGTHS}
    asked |= {f"{label}.{n}" for label in labels(make_findings.PARTS) for n in make_findings.WINDOWS}
    assert set(numbers) == asked
    if column != "smollm2":
        open_ones = {label for label, value in numbers.items() if value is None and label[0] != "p"}
        assert open_ones == set()


def test_the_verdict_stands_in_every_model_and_at_every_length():
    for column in ("untrained", "mini", "smollm2"):
        assert NUMBERS[column]["2b"] < 1e-5 and abs(NUMBERS[column]["2c"]) < 1e-3
        assert np.abs(NUMBERS[column]["3f"]).max() < 1e-3
        assert all(abs(NUMBERS[column][f"8d.{n}"]) < 1e-3 for n in make_findings.WINDOWS)
    assert NUMBERS["recorded"]["p2b"] < 1e-5
    for column in ("mini", "smollm2"):
        assert NUMBERS[column]["3g"][0] < -0.1 and NUMBERS[column]["3h"][0] > 0.1
        for n in make_findings.WINDOWS[1:]:
            assert NUMBERS[column][f"8f.{n}"] > 0.3 and NUMBERS[column][f"8e.{n}"] > 0.3
            assert sum(NUMBERS[column][f"8a.{n}"]) == pytest.approx(1, abs=1e-4)


def test_weights_alone_give_back_all_but_the_level(shared):
    """Scores read from recorded weights against the recorded scores themselves, each row's mean taken away."""
    records, _ = read_longer(shared)
    for record in [*read_prompts(shared), *records]:
        scores = record.raw_scores.double()
        past = aero.causal_mask(record.n_tokens)
        level = (scores * past).sum(-1, keepdim=True) / past.sum(-1, keepdim=True)
        read = seen_scores(record.weights(), 64)
        assert (read - (scores - level) * past).abs().max() < 2e-3 * scores.abs().max()
    with pytest.raises(ValueError, match="expected weights above 0 in the past, got 0"):
        seen_scores(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), 64)


def test_recordings_of_one_model_agree_with_each_other(shared):
    """Weights that were recorded, against the softmax of scores that were; two texts that begin with one token."""
    records, seen = read_longer(shared)
    assert [r.n_tokens for r in records] == [9, 12, 7, 8] and [r.n_tokens for r in seen] == [17, 10, 9, 12, 12, 7, 8]
    with np.load(shared / "longer.npz") as file:
        for name, record in zip(("bv_john9", "te_alice12", "te_labrador7", "te_ygh8"), records):
            assert np.abs(file[f"{name}__weights"] - record.weights().numpy()).max() < 1e-4
    q, k = read_queries_and_keys(shared)
    assert (q @ k.mT - records[0].raw_scores).abs().max() < 0.1  # queries and keys were kept in half precision
    the = [record.first(1).raw_scores for record in seen if record.tokens[0] == "The"]
    assert len(the) == 2


def test_gpt2_beyond_six_tokens_as_science_has_it(shared):
    """science, section 10: by length, and the sink's source."""
    numbers = NUMBERS["recorded"]
    for n, share, level, sink in ((9, 0.74, 0.64, 0.68), (12, 0.79, 0.71, 0.62), (17, None, None, 0.60)):
        if share is not None:
            assert numbers[f"7a.{n}"] == pytest.approx(share, abs=0.02) and numbers[f"7c.{n}"] == pytest.approx(
                level, abs=0.03
            )
        assert numbers[f"7d.{n}"][0] == pytest.approx(sink, abs=0.03)
    assert numbers["7a.17"] is None and numbers["7g.17"][0] == pytest.approx(0.37, abs=0.03)
    matrices = aero.read_head_matrices(shared / "attention.safetensors", 12)
    q, k = read_queries_and_keys(shared)
    expected = {
        False: [14.7, 4.8, 20.0, 39.1, 35.1, 11.6, 16.8, 18.7, 17.3, 17.6, 17.7, 8.9],
        True: [25.7, 3.6, 24.8, 11.2, 13.9, 14.2, 15.2, 27.2, 19.5, 28.3, 26.8, 11.3],
    }
    for folded, by_layer in expected.items():
        of = matrices.folded() if folded else matrices
        table = aero.term_table(aero.score_terms(q, k, of.b_q, of.b_k))
        gaps = table[table.term == "b_Q·k"].groupby("layer").key_0_gap.mean()
        assert gaps.to_list() == pytest.approx(by_layer, abs=0.1)
        assert table[table.term.str.endswith("b_K")].key_0_gap.abs().max() < 1e-3
    assert numbers["6h"] == pytest.approx([2.3, 9.8], abs=0.1) and numbers["6i"] == pytest.approx([6.8, 27.5], abs=0.1)


def test_unknown_columns_are_refused_before_anything_is_written():
    for arguments in (("auto",), ("recorded",), ("mini", "folder")):
        with pytest.raises(SystemExit, match=r"python tools/make_findings\.py"):
            make_findings.main(*arguments)


def test_a_mistake_in_a_command_is_no_empty_cell(shared, monkeypatch):
    monkeypatch.setattr(make_findings, "CLAIMS", [("1a", "", "", "tables.no_such_thing", ".2f", "", "")])
    with pytest.raises(AttributeError, match="no_such_thing"):
        make_findings.of_prompts(read_prompts(shared))


def test_numbers_are_written_readably():
    write = make_findings.written
    assert write([0.806, 0.799, 0.812], ".2f") == "0.81 [0.80, 0.81]"
    assert write([-0.05, float("nan"), float("nan")], "+.2f") == "−0.05"
    assert write(-0.0004, "+.2f") == "0.00" and write(None, ".2f") == "–"
    assert write([-0.2, None], "+.2f;") == "−0.20; –"
    assert write([0.72, 0.03, 32, 32, 0.01, 0.28, 0, 32], "wins") == "0.72 : 0.03 (32/32); 0.01 : 0.28 (0/32)"
    assert make_findings._decimal_commas("0.72 : 0.03 (32/32)") == "0,72 : 0,03 (32/32)"
    assert make_findings._decimal_commas("3.3: 0.74 [0.70, 0.77]; 0.16") == "3.3: 0,74 [0,70; 0,77]; 0,16"
