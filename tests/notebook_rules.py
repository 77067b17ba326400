"""What every notebook of the course must keep to. Each rule returns the places that break it."""

import re
from itertools import pairwise

MOST_LINES = 14


def tags(cell):
    return set(cell.metadata.get("tags", []))


def unpaired_languages(notebook):
    """A Vietnamese cell has its English twin directly under it, and each English cell has one above."""
    broken, cells = [], notebook.cells
    for i, cell in enumerate(cells):
        below = tags(cells[i + 1]) if i + 1 < len(cells) else set()
        above = tags(cells[i - 1]) if i else set()
        if "lang-vi" in tags(cell) and "lang-en" not in below:
            broken.append(i)
        if "lang-en" in tags(cell) and "lang-vi" not in above:
            broken.append(i)
        if cell.cell_type == "markdown" and not tags(cell) & {"lang-vi", "lang-en", "badge"}:
            broken.append(i)
    return broken


def unlike_twins(notebook):
    """Twins have the same headings, formulas on lines of their own, table rows, links and hints."""

    def form(text):
        headings = [line.split(" ")[0] for line in text.splitlines() if line.startswith("#")]
        links = re.findall(r"\]\(([^)]*)\)", text)
        return headings, text.count("$$"), text.count("\n|"), links, text.count("<details>"), text.count("\n- ")

    pairs = enumerate(pairwise(notebook.cells))
    return [i for i, (a, b) in pairs if "lang-vi" in tags(a) and form(a.source) != form(b.source)]


def vacuous_checks(notebook):
    """Cells whose output nbval should compare, and cannot: it passes over a cell that was never executed."""
    return [
        i
        for i, cell in enumerate(notebook.cells)
        if "nbval-check-output" in tags(cell) and (cell.execution_count is None or not cell.outputs)
    ]


def long_cells(notebook):
    return [
        i
        for i, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and "setup" not in tags(cell) and len(cell.source.splitlines()) > MOST_LINES
    ]


def stored_errors(notebook):
    return [
        i
        for i, cell in enumerate(notebook.cells)
        for output in cell.get("outputs", [])
        if output.output_type == "error" or output.get("name") == "stderr"
    ]


OTHER_SENSES = ("phím mũi tên", "quy luật tự nhiên")  # keys of a keyboard; the right term, which holds a wrong one


def forbidden_words(text, forbidden):
    """The forbidden variants of the glossary that a Vietnamese text uses, as whole words."""
    for phrase in OTHER_SENSES:
        text = text.replace(phrase, "")
    return [word for word in forbidden if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE)]
