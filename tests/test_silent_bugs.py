"""Lesson 08: each exhibit is silent, shown up by its comparison, right once mended; and the checklist runs."""

import re
import warnings

import make_editions
import nbformat
import pytest
from conftest import ROOT

from aero_helpers.checking import Prediction
from aero_helpers.exercises import check

NOTEBOOK = nbformat.read(ROOT / "notebooks" / "instructor" / "08_silent_bugs.ipynb", as_version=4)
OF_LESSON = {name: checker for name, checker in check.checkers.items() if checker.lesson == "08"}
LINE = r"^\| (?P<n>\d+)\. .* \| `(?P<first>.+)`<br>`(?P<second>.+)` \|$"
# What an exhibit's two cells print, silent first: a number that looks right, and the comparison's.
TOLD = {
    "def masked_softmax": ("largest weight on the future: 0.000", r"-20000 on every score: .* 1\.00"),
    "def below_zero": (r"own keys 0\.98, control .* 0\.81", r"own keys 0\.98 to 0\.98, control 0\.00 to 1\.00"),
    "class Attention": ("output of the last token", r"differs by up to [1-9]|differs by up to 0\.[1-9]"),
    'set_attn_implementation("sdpa")': ("above 0.9: 0", "0 from sdpa, 6 from eager.*\n.*above 0.9: 4"),
    "attention_mask=mask": ("→  man", r"alone → window; a logit differs by up to 2\.\d"),
    "mean entropy": (r"12 tokens.* 1\.25\n24 .* 1\.64\n60 .* 2\.14", r"in each row, 0\.75\n.* 0\.72\n.* 0\.69"),
    "of_a, of_b": (r"A: .* 0\.76\n.*B: .* 0\.59", r"0\.76\n.* 0\.80\n.* 0\.59"),
    "weights=counts)\nprint": ("7320 values in 60 bins", r"as weights: \d\d values.*\n.*7320 values"),
    "k.repeat(1, 3": ("rows sum to 1.000", r"head 1: .* 0\.97\n.* 0\.00\n.* 0\.00\n.*head 4: .* 0\.9"),
    "def hide_first_key": ("with key 0 hidden", "changes: 0"),
}


def printed(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


@pytest.mark.parametrize("exhibit", TOLD)
def test_an_exhibit_says_nothing_and_the_comparison_does(exhibit):
    shown = [c for c in NOTEBOOK.cells if c.cell_type == "code" and c.metadata.get("title")]
    place = next(i for i, cell in enumerate(shown) if exhibit in cell.source)
    silent, comparison = TOLD[exhibit]
    assert re.search(silent, printed(shown[place])) and re.search(comparison, printed(shown[place + 1]))
    kinds = {output.output_type for cell in shown for output in cell.outputs}
    assert kinds <= {"stream", "display_data"}  # no error, and no word of warning
    assert not [output for cell in shown for output in cell.outputs if output.get("name") == "stderr"]


@pytest.mark.parametrize("name", [name for name, each in OF_LESSON.items() if not isinstance(each, Prediction)])
def test_what_an_exhibit_computes_raises_nothing_has_the_right_shape_and_is_wrong(name):
    exercise = OF_LESSON[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for arguments in exercise.inputs:
            given, right = exercise.given(*arguments), exercise.right(*arguments)
            assert getattr(given, "shape", None) == getattr(right, "shape", None)
    assert not exercise(exercise.given) and exercise(exercise.right)
    assert len(exercise.mistakes) >= 2  # the usual wrong mends, each by name


def test_ten_exhibits_have_an_exercise_each_a_place_and_a_habit():
    for language, words in (("vi", ("**Ở đâu.**", "**Thói quen.**")), ("en", ("**Where.**", "**Habit.**"))):
        texts = "\n".join(c.source for c in NOTEBOOK.cells if f"lang-{language}" in c.metadata.get("tags", []))
        assert [texts.count(word) for word in words] == [10, 10] and len(OF_LESSON) == 10
        assert len(set(re.findall(r"https://github\.com/\S+/(?:issues|pull)/\d+", texts))) >= 12


@pytest.mark.parametrize("language", ["vi", "en"])
def test_each_line_of_the_checklist_runs_and_says_on_mini_what_the_text_says(language, monkeypatch):
    monkeypatch.setenv("AERO_MODEL", "mini")
    text = next(c.source for c in NOTEBOOK.cells if {"checklist", f"lang-{language}"} <= set(make_editions.tags(c)))
    names = {}
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], names)
    rows = [re.match(LINE, line) for line in text.splitlines() if line.startswith("| ") and "`" in line]
    assert [int(row["n"]) for row in rows] == list(range(1, 11))
    found = {}
    for row in rows:
        exec(row["first"], names)
        found[int(row["n"])] = bool(eval(row["second"], names))
    assert found == {n: n != 8 for n in found}  # as the text says: mini's share is another one on long texts
