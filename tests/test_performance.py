"""The benchmark's pages are what performance.json says, and its arms measure what they say. No timing is tested."""

import json
import sys

import numpy as np
import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "docs"))
import make_performance
import performance_arms as arms

NUMBERS = json.loads(make_performance.NUMBERS.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("which", "name"), list(enumerate(make_performance.PAGES)))
def test_the_pages_are_written_from_the_numbers(which, name):
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert text == make_performance.page(text, NUMBERS, which), "run `python docs/make_performance.py`"
    assert all(text.count(f"<!-- {table}:start -->") == 1 for table in make_performance.TABLES)


@pytest.mark.parametrize("how", make_performance.OWN)
def test_every_arm_runs_and_is_timed(how):
    found = arms.forward(how, "mini", 2, 32)
    assert len(found["seconds"]) == arms.REPEATS and min(found["seconds"]) > 0 and found["megabytes"] >= 0


def test_memory_that_is_taken_is_seen():
    if not arms.STATUS.exists():
        pytest.skip("no /proc/self/status: memory is measured on Linux alone")
    kept = []
    found = arms.measured(lambda: kept.append(np.ones(4_000_000)), repeats=2)  # 32 MB a call
    assert 80 < found["megabytes"] < 130


def test_the_corpus_and_the_densities_are_as_large_as_asked():
    assert arms.corpus(1000)["tokens"] == pytest.approx(1000, rel=0.2)
    density = arms.density(2000)
    assert density["n"] == 2000 and density["error"] < 1e-3 and density["points"] >= 1024
    histogram = arms.histogram(2_000_000)
    assert histogram["n"] == 2_000_000 and histogram["error"] < 0.02
