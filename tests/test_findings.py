"""The findings are what the code measures, and the pages are what findings.json says."""

import json
import sys

import numpy as np
import pytest
from conftest import ROOT

import aero_helpers as aero

sys.path.insert(0, str(ROOT / "docs"))
import make_findings
from make_story import read_records

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
    assert_alike(make_findings.measure([lm.record(scene.text) for scene in aero.read_scenes()], lm), NUMBERS["mini"])


def test_gpt2s_column_is_measured_again(shared):
    assert_alike(make_findings.measure_recorded(shared), NUMBERS["recorded"])


def test_every_number_has_a_command_and_every_claim_a_verdict():
    labels = [row[0] for row in make_findings.ROWS if len(row) > 2]
    assert len(set(labels)) == len(labels)
    assert all(set(NUMBERS[column]) == set(labels) for column in ("untrained", "mini", "smollm2", "recorded"))
    for row in make_findings.ROWS:
        assert all(row) if len(row) == 2 else row[3]
    claims = [i for i, row in enumerate(make_findings.ROWS) if len(row) == 2]
    assert all(all(make_findings.ROWS[i + 1][-2:]) for i in claims)


def test_the_verdict_stands_in_every_model():
    for column in ("untrained", "mini", "smollm2"):
        assert NUMBERS[column]["2b"] < 1e-5 and abs(NUMBERS[column]["2c"]) < 1e-3
        assert np.abs(NUMBERS[column]["3e"]).max() < 1e-3
    assert NUMBERS["recorded"]["2b"] < 1e-5
    for column in ("mini", "smollm2"):
        assert NUMBERS[column]["3f"][0] < -0.1 and NUMBERS[column]["3g"][0] > 0.1


def test_unknown_columns_are_refused_before_anything_is_written():
    for arguments in (("auto",), ("recorded",), ("mini", "folder")):
        with pytest.raises(SystemExit, match=r"python docs/make_findings\.py"):
            make_findings.main(*arguments)


def test_a_mistake_in_a_command_is_no_empty_cell(shared, monkeypatch):
    monkeypatch.setattr(make_findings, "ROWS", [("1a", "", "", "tables.no_such_thing", ".2f", "", "")])
    with pytest.raises(AttributeError, match="no_such_thing"):
        make_findings.measure(read_records(shared))


def test_numbers_are_written_readably():
    write = make_findings.written
    assert write([0.806, 0.799, 0.812], ".2f") == "0.81 [0.80, 0.81]"
    assert write([-0.05, float("nan"), float("nan")], "+.2f") == "−0.05"
    assert write(-0.0004, "+.2f") == "0.00" and write(None, ".2f") == "–"
    assert write([-0.2, None], "+.2f;") == "−0.20; –"
    assert make_findings._decimal_commas("3.3: 0.74 [0.70, 0.77]; 0.16") == "3.3: 0,74 [0,70; 0,77]; 0,16"
