"""Make lecture slides from the instructor's notebooks: `python tools/make_slides.py`.

A deck for each notebook and language goes to build/slides/, index.html first; no network is needed to
show them. Cells say by `slideshow` (JupyterLab's property inspector) where they stand: a text cell begins
a slide, and is cut into several where it is long; code and each of its figures follow on slides of their own.
"""

import importlib.util
import re
import shutil
from copy import deepcopy
from html import escape
from itertools import groupby, pairwise, zip_longest
from pathlib import Path

import nbformat
from make_editions import SOURCE, drop_widgets, read, tags
from make_lesson import INDEX, title, with_mathml
from markdown_it import MarkdownIt
from nbconvert import SlidesExporter

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "tools" / "slides_template"
SLIDES = ROOT / "build" / "slides"
FULL = 680  # about as many letters of text as fit on a slide of 720 pixels at a size for the last row
SHORT = 220  # a remark that may stay on the slide of the code above it
FEW_LINES = 3  # code that leaves room for its figure
ROW = 70  # a table's row, a list's item or a displayed formula takes at least a line


def weight(block):
    """How much of a slide a paragraph takes, in letters."""
    lines = [line for line in block.splitlines() if not line.startswith("| ---")]
    formulas = 3 * ROW * block.count("$$") // 2
    return formulas + sum(max(ROW, len(re.sub(r"\$[^$]*\$", "xxxxx", line))) for line in lines)


def blocks_of(source):
    """(block, whether it is a heading) of a text: what blank lines part, but for those in a fence of code."""
    lines, tokens = source.strip().split("\n"), MarkdownIt().parse(source.strip())
    in_code = {line for token in tokens if token.type in ("fence", "code_block") for line in range(*token.map)}
    headings = {token.map[0] for token in tokens if token.type == "heading_open"}
    is_blank = [not line.strip() and i not in in_code for i, line in enumerate(lines)]
    for blank, block in groupby(range(len(lines)), key=lambda i: is_blank[i]):
        block = list(block)
        if not blank:
            yield "\n".join(lines[i] for i in block), block[0] in headings


def cut(source):
    """A text cell as the sources of its slides: whole paragraphs, the heading repeated, hints left to the notebook."""
    source = re.sub(r"<details>.*?</details>", "", source, flags=re.DOTALL)
    slides, heading = [], ""
    for block, is_heading in blocks_of(source):
        if is_heading:
            heading = block
            slides.append([block])
        elif not slides or (sum(map(weight, slides[-1])) + weight(block) > FULL and slides[-1] != [heading]):
            slides.append([heading, block] if heading else [block])
        else:
            slides[-1].append(block)
    return ["\n\n".join(blocks) for blocks in slides if blocks != [heading] or len(slides) == 1]


def figures_of(cell):
    return [output for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]


def has_room(cell):
    """Whether a remark fits under a cell on its slide."""
    printed = "".join(output.get("text", "") for output in cell.get("outputs", []))
    return not figures_of(cell) and len((cell.source + printed).splitlines()) <= FEW_LINES + 8


def slides_of(cell):
    """The cells that one cell becomes, each a slide: texts cut where long, figures apart from all but short code."""
    kinds = [cell.metadata["slideshow"]["slide_type"]]
    if cell.cell_type == "markdown":
        sources = cut(cell.source)
        parts = [nbformat.v4.new_markdown_cell(with_mathml(source)) for source in sources]
        if not sources[0].startswith("#") and weight(sources[0]) <= SHORT:
            kinds = ["-", "slide" if len(sources) > 1 and sources[1].startswith("#") else "subslide"]
    else:
        figures = figures_of(cell)
        if len(cell.source.splitlines()) <= FEW_LINES and len(cell.outputs) == 1:
            figures = []
        code = deepcopy(cell)
        code.outputs = [output for output in cell.outputs if output not in figures]
        alone = [nbformat.v4.new_code_cell(outputs=[figure], metadata={"tags": ["figure"]}) for figure in figures]
        parts = [code, *alone]
    for part, kind in zip_longest(parts, kinds[: len(parts)], fillvalue="subslide"):
        part.metadata["slideshow"] = {"slide_type": kind}
    return parts


def deck(notebook, language):
    """The notebook of a deck: one language, the cells that are shown, cut to slides."""
    other = {"vi": "lang-en", "en": "lang-vi"}[language]
    shown = [cell for cell in notebook.cells if other not in tags(cell)]
    shown = [cell for cell in shown if cell.metadata.get("slideshow", {}).get("slide_type", "skip") != "skip"]
    made = deepcopy(notebook)
    made.cells = [part for cell in shown for part in slides_of(cell)]
    for above, part in pairwise(made.cells):
        if part.metadata["slideshow"]["slide_type"] == "-" and not has_room(above):
            part.metadata["slideshow"]["slide_type"] = "subslide"
    drop_widgets(made)
    return made


def exporter():
    """nbconvert's reveal.js slides, without the network (see slides_template)."""
    made = SlidesExporter(
        template_name=TEMPLATE.name,
        extra_template_basedirs=[str(TEMPLATE.parent)],
        reveal_url_prefix="reveal",
        reveal_theme="course",
    )
    made.exclude_input_prompt = made.exclude_output_prompt = True
    return made


def copy_reveal():
    """Put reveal.js beside the decks: the package sphinx-revealjs carries it."""
    found = importlib.util.find_spec("sphinx_revealjs")
    if found is None:
        raise ModuleNotFoundError("reveal.js: expected the package that carries it; pip install sphinx-revealjs")
    source, to = Path(found.submodule_search_locations[0]) / "_static" / "revealjs", SLIDES / "reveal"
    (to / "dist" / "theme").mkdir(parents=True, exist_ok=True)
    shutil.copy(source / "LICENSE", to)
    shutil.copy(source / "dist" / "reveal.js", to)
    shutil.copy(source / "dist" / "reveal.css", to / "dist")
    shutil.copy(TEMPLATE / "course.css", to / "dist" / "theme")


def main():
    shutil.rmtree(SLIDES, ignore_errors=True)  # no deck of a notebook that is gone
    SLIDES.mkdir(parents=True)
    copy_reveal()
    rows = []
    for path in sorted(SOURCE.glob("*.ipynb")):
        notebook = read(path)
        for language in ("vi", "en"):
            page, _ = exporter().from_notebook_node(deck(notebook, language), {"metadata": {"name": path.stem}})
            page = page.replace('<html lang="en">', f'<html lang="{language}">', 1)
            name = f"{path.stem}.{language}.html"
            (SLIDES / name).write_text(page, encoding="utf-8")
            rows.append(f'<p><a href="{name}">{escape(title(notebook, language))}</a></p>')
    (SLIDES / "index.html").write_text(INDEX.format(rows="\n".join(rows)), encoding="utf-8")
    print(f"Xem / open: {SLIDES.relative_to(ROOT) / 'index.html'}")


if __name__ == "__main__":
    main()
