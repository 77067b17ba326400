"""Make lecture slides from the instructor's notebooks: `python tools/make_slides.py`.

A deck for each notebook and language goes to build/site/slides; no network is needed to show one. A slide has a title
that asks or finds something, one thing to look at (a figure, a table, short code, a formula) and little else; the
notebook's prose goes to the speaker notes (key S). Cells say by `slideshow` (JupyterLab's property inspector) whether
they are shown; code that is shown has a `title` in both languages, and may have `live`, a state of the live page.
"""

import html
import importlib.util
import json
import re
import shutil
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from urllib.parse import quote

from formulas import mathml
from make_editions import SOURCE, read, speak, tags
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "tools" / "slides"
SLIDES = ROOT / "build" / "site" / "slides"
LANGUAGES = ("vi", "en")
WIDE, MOST_LINES = 98, 19  # letters of a line of code, and lines of code with what it prints, on one slide
LONGEST = 150  # letters of a sentence that the last row can still read
LIVE = {"vi": "Mở trang thử ngay với ví dụ này", "en": "Open the live page with this example"}
ITEMS = ("table_open", "math_block", "blockquote_open", "ordered_list_open", "fence")
SAID = re.compile(r"\*\*(?P<kicker>Dự đoán|Predict|Phán quyết \d|Verdict \d)\.\*\* (?P<text>.+)", re.DOTALL)


@dataclass
class Slide:
    """One slide: a line above its title, the title, what is looked at, and what the speaker says; all of it HTML."""

    title: str
    kicker: str = ""
    item: str = ""
    notes: list = field(default_factory=list)
    live: dict | None = None


def renderer():
    """Markdown as the notebooks use it, its formulas as MathML."""
    made = MarkdownIt("commonmark").enable("table")
    return made.use(dollarmath_plugin, renderer=lambda tex, options: mathml(tex, options["display_mode"]))


MARKDOWN = renderer()


def without_hints(source):
    return re.sub(r"<details>.*?</details>", "", source, flags=re.DOTALL)


def blocks_of(source):
    """(kind, source) of a text's blocks: headings, paragraphs, tables, formulas, lists, fences of code."""
    lines = source.split("\n")
    for token in MARKDOWN.parse(source):
        if token.level == 0 and token.map and not token.type.endswith("_close"):
            yield token.type, "\n".join(lines[slice(*token.map)]).strip()


def first_sentences(text):
    """The first sentence; of a prediction that asks something, its first question."""
    whole = " ".join(text.split())
    sentences = re.split(r"(?<=[.?!])\s+(?=[A-ZĐÀ-Ỹ\"“*`$(])", whole)
    asked = [sentence for sentence in sentences if sentence.rstrip("*").endswith("?")]
    return whole if len(whole) <= LONGEST and asked else (asked or sentences)[0]


def slides_of_text(source, above):
    """The slides of a text cell; prose becomes the notes of the slide it stands under, at first of `above`."""
    slides, slide, heading = [], above, above.title if above else ""
    for kind, block in blocks_of(without_hints(source)):
        said = SAID.match(block) if kind == "paragraph_open" else None
        if kind == "heading_open":
            heading = MARKDOWN.renderInline(re.sub(r"^#+ (\d\. )?", "", block))
            slide = Slide(heading)
        elif said:
            title = MARKDOWN.renderInline(first_sentences(said["text"]))
            if slide is not None and slide is not above and not slide.item and not slide.kicker:  # a heading alone
                slide.title, slide.kicker = title, f"{slide.title} · {said['kicker']}"
            else:
                slide = Slide(title, said["kicker"])
        elif kind in ITEMS and slide is not None and slide is not above and not slide.item and not slide.kicker:
            slide.item = MARKDOWN.render(block)
            continue
        elif kind in ITEMS:
            slide = Slide(heading, item=MARKDOWN.render(block))
        if slide is not above and slide not in slides:
            slides.append(slide)
        if slide is not None and kind != "heading_open" and kind not in ITEMS:
            slide.notes.append(MARKDOWN.render(block))
    return slides


def n_lines(text):
    """The lines that code takes on a slide, where long ones go on in a second line."""
    return sum(1 + max(0, len(line) - 1) // WIDE for line in text.splitlines())


def printed(cell):
    return "".join(output.get("text", "") for output in cell.outputs).rstrip()


def figures(cell):
    return [output.data["image/png"].strip() for output in cell.outputs if "image/png" in output.get("data", {})]


def slides_of_code(cell, language):
    """The slides of a code cell: its figures, or what it prints, with the code where there is room for both."""
    title = html.escape(cell.metadata["title"][language])
    size = "code small" if n_lines(cell.source) > MOST_LINES - 3 else "code"
    code = highlight(cell.source, PythonLexer(), HtmlFormatter(cssclass=size))
    text, pictures = printed(cell), figures(cell)
    shown = f"<pre class='printed'>{html.escape(text)}</pre>" if text else ""
    if pictures:
        items = [f'<img alt="{title}" src="data:image/png;base64,{picture}">' for picture in pictures]
    else:
        fits = not text or n_lines(cell.source) + n_lines(text) <= MOST_LINES
        items = [code + shown if fits else shown.replace("'printed'", "'printed alone'")]
    notes = [code] if code not in items[0] else []
    return [Slide(title, item=item, notes=list(notes), live=cell.metadata.get("live")) for item in items]


def deck(notebook, language):
    """The slides of a notebook in one language."""
    other, notebook = {"vi": "lang-en", "en": "lang-vi"}[language], deepcopy(notebook)
    speak(notebook, language)
    slides = []
    for cell in notebook.cells:
        if other in tags(cell) or cell.metadata.get("slideshow", {}).get("slide_type", "skip") == "skip":
            continue
        if cell.cell_type == "code":
            slides += slides_of_code(cell, language)
        else:
            slides += slides_of_text(cell.source, slides[-1] if slides else None)
    return slides


def section(slide, language):
    """A slide as reveal.js takes it."""
    parts = [f'<p class="kicker">{slide.kicker}</p>'] if slide.kicker else []
    only_words = not slide.item
    parts += [f'<h2 class="{"large" * only_words}">{slide.title}</h2>', slide.item]
    if slide.live:
        address = f"../{language}/live.html#{quote(json.dumps(slide.live))}"
        parts.append(f'<p class="live"><a href="{address}" target="_blank">{LIVE[language]}</a></p>')
    notes = "".join(slide.notes).replace('.ipynb"', f'.{language}.html"')
    parts.append(f'<aside class="notes">{notes}</aside>')
    return f"<section>{''.join(parts)}</section>"


def title_of(notebook, language):
    """The heading of the first cell in that language."""
    first = next(cell for cell in notebook.cells if f"lang-{language}" in tags(cell))
    return first.source.splitlines()[0].lstrip("# ")


def page(notebook, language):
    """A deck as a page."""
    template = Template((TEMPLATE / "deck.html").read_text(encoding="utf-8"))
    slides = "\n".join(section(slide, language) for slide in deck(notebook, language))
    return template.substitute(language=language, title=html.escape(title_of(notebook, language)), slides=slides)


def copy_reveal(folder):
    """Put reveal.js beside the decks: the package sphinx-revealjs carries it."""
    found = importlib.util.find_spec("sphinx_revealjs")
    if found is None:
        raise ModuleNotFoundError("reveal.js: expected the package that carries it; pip install sphinx-revealjs")
    source, to = Path(found.submodule_search_locations[0]) / "_static" / "revealjs", folder / "reveal"
    to.mkdir(parents=True)
    for name in ("LICENSE", "dist/reveal.js", "dist/reveal.css", "plugin/notes/notes.js"):
        shutil.copy(source / name, to)
    (to / "code.css").write_text(HtmlFormatter(style="friendly").get_style_defs(".code"), encoding="utf-8")
    shutil.copy(TEMPLATE / "course.css", to)


def build(folder, notebook_of):
    """Write the decks of the notebooks that `notebook_of(path)` gives, and their index."""
    shutil.rmtree(folder, ignore_errors=True)  # no deck of a notebook that is gone
    copy_reveal(folder)
    rows = []
    for path in sorted(SOURCE.glob("*.ipynb")):
        for language in LANGUAGES:
            notebook, name = notebook_of(path), f"{path.stem}.{language}.html"
            (folder / name).write_text(page(notebook, language), encoding="utf-8")
            rows.append(f'<li><a href="{name}" lang="{language}">{html.escape(title_of(notebook, language))}</a></li>')
    index = Template((TEMPLATE / "index.html").read_text(encoding="utf-8"))
    (folder / "index.html").write_text(index.substitute(rows="\n".join(rows)), encoding="utf-8")


if __name__ == "__main__":
    build(SLIDES, read)
    print(f"Xem / open: {SLIDES.relative_to(ROOT) / 'index.html'}")
