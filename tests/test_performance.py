"""The benchmark's pages are what performance.json says, and its arms measure what they say. No timing is tested."""

import json
import subprocess
import sys

import make_performance
import performance_arms as arms
import pytest
from conftest import ROOT

NUMBERS = json.loads(make_performance.NUMBERS.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("which", "name"), list(enumerate(make_performance.PAGES)))
def test_the_pages_are_written_from_the_numbers(which, name):
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert text == make_performance.page(text, NUMBERS, which), "run `python tools/make_performance.py`"
    assert all(text.count(f"<!-- {table}:start -->") == 1 for table in make_performance.TABLES)


def test_vietnamese_numbers_have_commas_and_say_the_same():
    vi, en = ((ROOT / "docs" / name).read_text(encoding="utf-8") for name in make_performance.PAGES)
    assert "5.245.756" in vi and "5,245,756" in en and "torch 2.13.0" in vi
    n_rows = [[line.count("|") for line in text.splitlines() if line.startswith("|")] for text in (vi, en)]
    assert n_rows[0] == n_rows[1]


@pytest.mark.parametrize("how", make_performance.OWN)
def test_every_arm_runs_and_is_timed(how):
    found = arms.forward(how, "mini", 2, 32)
    assert len(found["seconds"]) == arms.REPEATS and min(found["seconds"]) > 0 and found["megabytes"] >= 0


def test_memory_that_is_taken_is_seen():
    """In a process of its own, as the arms are: this one has memory to give away again."""
    if not arms.STATUS.exists():
        pytest.skip("no /proc/self/status: memory is measured on Linux alone")
    script = "import numpy as np, performance_arms as p; kept = []; "
    script += "print(p.measured(lambda: kept.append(np.ones(4_000_000)), repeats=2)['megabytes'])"  # 32 MB a call
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT / "tools", capture_output=True, check=True)
    assert float(found.stdout) == pytest.approx(96, rel=0.1)


def test_ratios_and_goals_are_those_of_the_numbers():
    seconds = {how: arm["seconds"] for how, arm in NUMBERS["forward"]["2 × 1024"].items()}
    goals = make_performance.goals_table(NUMBERS, 1)
    assert f"without logits, T = 1024, two texts | ≤ 1.15 | {seconds['ours'] / seconds['sdpa']:.2f} |" in goals
    assert f"fastest way | ≥ 2.5 | {seconds['lens_hooks'] / seconds['ours']:.1f} |" in goals


def test_the_corpus_and_the_densities_are_as_large_as_asked():
    assert arms.corpus(1000)["tokens"] == pytest.approx(1000, rel=0.2)
    density = arms.density(2000)
    assert density["n"] == 2000 and density["error"] < 1e-3 and density["points"] >= 1024
    histogram = arms.histogram(2_000_000)
    assert histogram["n"] == 2_000_000 and histogram["error"] < 0.02
