"""No number in the course's prose without a cell, a finding or a source that it comes from."""

import re

import nbformat
import numbers_rules
import pytest
from conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks" / "instructor").glob("*.ipynb"))
MADE = ("findings", "performance")  # from their numbers, as tests/test_findings.py and test_performance.py hold
PAGES = [
    *(ROOT / name for name in ("README.md", "README.vi.md")),
    *sorted(path for path in (ROOT / "docs").glob("*.md") if path.name.split(".")[0] not in MADE),
]  # mini's card is made from its numbers, too: tests/test_mini.py
SOURCES = numbers_rules.read_sources()


def checked_outputs(notebook):
    for cell in notebook.cells:
        if "nbval-check-output" in cell.metadata.get("tags", []):
            for output in cell.outputs:
                yield output.get("text") or output.get("data", {}).get("text/plain", "")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.parametrize("language", ["vi", "en"])
def test_notebooks(path, language):
    notebook = nbformat.read(path, as_version=4)
    outputs, sources = list(checked_outputs(notebook)), SOURCES["every"] + SOURCES.get(path.stem, [])
    texts = [cell.source for cell in notebook.cells if f"lang-{language}" in cell.metadata.get("tags", [])]
    loose = {text.strip()[:60]: numbers_rules.unbound(text, language, outputs, sources) for text in texts}
    assert {start: numbers for start, numbers in loose.items() if numbers} == {}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_pages(path):
    language = "vi" if path.name.endswith(".vi.md") else "en"
    sources = SOURCES["every"] + SOURCES.get(path.name.split(".")[0], [])
    sections = re.split(r"(?m)^(?=## )", path.read_text(encoding="utf-8"))
    assert [number for section in sections for number in numbers_rules.unbound(section, language, (), sources)] == []


def test_a_wrong_number_is_found():
    text = "The share is 0.81 (`findings` 7a), the loss 3.02, and 8% leak."
    outputs = ["share 0.806, loss: 3.02\n8% of the area"]
    assert numbers_rules.unbound(text, "en", outputs) == []
    assert numbers_rules.unbound(text.replace("0.81", "0.83"), "en", outputs) == ["0.83"]
    assert numbers_rules.unbound(text.replace("8%", "9%"), "en", outputs) == ["9%"]
    assert numbers_rules.unbound("0.735 of 7a", "en") == ["0.735"]  # more decimals than any number has there
    assert numbers_rules.unbound("On 12 tokens 0.79.", "en") == ["0.79"]  # right, but its label is not named
    assert numbers_rules.unbound("On 12 tokens 0.79 (7a).", "en") == []


def test_a_wrong_number_in_a_real_notebook_is_found():
    path = next(path for path in NOTEBOOKS if path.stem == "04_negative_shift")
    notebook = nbformat.read(path, as_version=4)
    (cell,) = (cell for cell in notebook.cells if "| −0.97 |" in cell.source and "lang-en" in cell.metadata.tags)
    outputs = list(checked_outputs(notebook))
    spoilt = cell.source.replace("| −0.97 |", "| −0.77 |", 1)
    assert numbers_rules.unbound(cell.source, "en", outputs, SOURCES["every"]) == []
    assert numbers_rules.unbound(spoilt, "en", outputs, SOURCES["every"]) == ["0.77"]


def test_each_language_writes_numbers_its_own_way():
    read = lambda text, language: [value for _, value, _ in numbers_rules.numbers_in(text, language)]  # noqa: E731
    assert read("0,68 và 1.024 token, đầu 3.3, 61%", "vi") == [0.68, 0.61]
    assert read("0.68 and 1,024 tokens, 1.5 million, 61 %, 3, 4 of 2.13.0", "en") == [0.68, 1.5, 0.61]
    assert read("`0.5` and $0.7$ and arXiv 1706.03762 [x](docs/1.5.md)", "en") == []
    assert numbers_rules.labels_in("(`findings` p1a, 7h, and 6a–6c; 12 tokens, 3d printing)") == {
        "p1a", "7h", "6a", "6b", "6c", "3d"
    }  # fmt: skip


def test_every_source_is_used():
    """A number in the list that no text needs any more goes."""
    texts = {path.stem: path for path in NOTEBOOKS}
    for place, numbers in SOURCES.items():
        if place in texts:
            cells = nbformat.read(texts[place], as_version=4).cells
            found = [v for c in cells for lang in ("vi", "en") if f"lang-{lang}" in c.metadata.get("tags", [])
                     for _, v, _ in numbers_rules.numbers_in(c.source, lang)]  # fmt: skip
            assert [number for number in numbers if all(abs(number - value) > 1e-9 for value in found)] == [], place
