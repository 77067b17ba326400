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
from make_editions import LANGUAGES, OTHER, ROOT, SAID, SOURCE, read, speak, tags
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

TEMPLATE = ROOT / "tools" / "slides"
SLIDES = ROOT / "build" / "site" / "slides"
LONGEST = 230  # letters of a prediction that the last row can still read
LINE = 44  # letters of a title on one line
SIZES = (30, 26, 23, 20, 17)  # pixels of code, on slides of 1280 by 720
TALL, TALL_WITH_LINK = 490, 450  # pixels that code and what it prints may take
ITEMS = ("table_open", "math_block", "blockquote_open", "ordered_list_open", "fence")
EXERCISE, SUMMARY = re.compile(r"(Exercise|Bài tập) \d"), ("Summary", "Tóm tắt")
CODES = re.compile(
    r"(?:\s|&nbsp;)*\((?:<code>findings</code> )?p?\d+[a-z]\d?(?:(?:, | và | and )p?\d+[a-z]\d?)*\)"
)  # of the findings
MARKED = re.compile(r"\*\*(?P<kicker>Dự đoán|Predict|Phán quyết \d|Verdict \d)\.\*\* (?P<text>.+)", re.DOTALL)


@dataclass
class Slide:
    """One slide: a line above its title, the title, what is looked at, and what the speaker says; all of it HTML."""

    title: str
    kicker: str = ""
    item: str = ""
    notes: list = field(default_factory=list)
    code: str = ""  # at the end of the notes
    live: dict | None = None

    @property
    def is_bare(self):
        """Whether it is a heading and nothing else yet."""
        return not self.item and not self.kicker


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


def is_item(kind, block, slide):
    """Whether a block is something to look at: a table, a formula; the task of an exercise, the points of a summary."""
    alone = slide is not None and slide.is_bare
    is_task = kind == "paragraph_open" and alone and EXERCISE.match(slide.title)
    return kind in ITEMS or bool(is_task) or (kind == "bullet_list_open" and alone and slide.title in SUMMARY)


def slides_of_text(cell, language, above):
    """The slides of a text cell; prose becomes the notes of the slide it stands under, at first of `above`.

    The cell's `title`, where it has one, heads the first thing to look at.
    """
    title = html.escape(cell.metadata.get("title", {}).get(language, ""))
    slides, slide, heading = [], above, above.title if above else ""
    for kind, block in blocks_of(without_hints(cell.source)):
        shown = MARKDOWN.render(block)
        said = MARKED.match(block) if kind == "paragraph_open" else None
        is_new = slide is not above and slide is not None
        if kind == "heading_open":
            heading = MARKDOWN.renderInline(re.sub(r"^#+ ", "", block))
            slide = Slide(heading)
        elif said:
            slide = Slide(MARKDOWN.renderInline(first_sentences(said["text"])), said["kicker"])
        elif kind in ITEMS and is_new and slide.item.endswith(":</p>\n"):  # a task that leads on to a table
            slide.item += shown
        elif is_item(kind, block, slide if is_new else None):
            if not (is_new and slide.is_bare):
                slide = Slide(title or heading)
            elif title:
                slide.title, slide.kicker = title, slide.title
            slide.item, title = shown, ""
        if slide is not above and slide not in slides:
            slides.append(slide)
        if slide is not None and kind != "heading_open" and not slide.item.endswith(shown):
            slide.notes.append(shown)
    return slides


def size_of(text, most):
    """The largest size at which code fits on a slide, long lines going on in a second one; None where none does."""
    for size in SIZES:
        letters = int(1190 / (0.602 * size))  # DejaVu Sans Mono's letters are 0.602 of their height wide
        n_lines = sum(1 + max(0, len(line) - 1) // letters for line in text.splitlines())
        if 1.35 * size * n_lines + 40 <= most:
            return size
    return None


def printed(cell):
    return "".join(output.get("text", "") for output in cell.outputs).rstrip()


def figures(cell):
    return [output.data["image/png"].strip() for output in cell.outputs if "image/png" in output.get("data", {})]


def slides_of_code(cell, language):
    """The slides of a code cell: its figures, or what it prints, with the code where there is room for both."""
    titles, live = cell.metadata["title"][language], cell.metadata.get("live")
    code = highlight(cell.source, PythonLexer(), HtmlFormatter(cssclass="code"))
    text, most = printed(cell), TALL_WITH_LINK if live else TALL
    shown = f'<pre class="printed">{html.escape(text)}</pre>' if text else ""
    pictures = figures(cell)
    if pictures:
        titles = titles if isinstance(titles, list) else [titles] * len(pictures)
        items = [
            f'<img alt="{html.escape(title)}" src="data:image/png;base64,{picture}">'
            for title, picture in zip(titles, pictures)
        ]
        return [
            Slide(html.escape(title), item=item, code=code + shown, live=live) for title, item in zip(titles, items)
        ]
    together, alone = size_of(f"{cell.source}\n{text}", most), size_of(text, most)
    size, item, rest = (
        (together, code + shown, "") if together and (together >= 20 or not text) else (alone, shown, code)
    )
    return [Slide(html.escape(titles), item=f'<div style="font-size: {size}px">{item}</div>', code=rest, live=live)]


def without_bare_headings(slides):
    """A heading with nothing under it becomes the line above the next slide's title, and its notes that one's.

    Of several in a row the last one does.
    """
    kept, waiting = [], None
    for slide in slides:
        is_bare = slide.is_bare
        if waiting:
            slide.notes = waiting.notes + slide.notes
        if waiting and not is_bare:
            slide.kicker = " · ".join(filter(None, [waiting.title, slide.kicker]))
        waiting = slide if kept and is_bare else None
        if not waiting:
            kept.append(slide)
    return kept + [waiting] * bool(waiting)


def deck(notebook, language):
    """The slides of a notebook in one language."""
    notebook = deepcopy(notebook)
    speak(notebook, language)
    slides = []
    for cell in notebook.cells:
        if OTHER[language] in tags(cell) or cell.metadata.get("slideshow", {}).get("slide_type", "skip") == "skip":
            continue
        if cell.cell_type == "code":
            slides += slides_of_code(cell, language)
        else:
            slides += slides_of_text(cell, language, slides[-1] if slides else None)
    for slide in slides:
        slide.title = CODES.sub("", slide.title)
        slide.item = slide.item if slide.code or "printed" in slide.item else CODES.sub("", slide.item)
    return without_bare_headings(slides)


def section(slide, language):
    """A slide as reveal.js takes it."""
    parts = [f'<p class="kicker">{slide.kicker}</p>'] if slide.kicker else []
    size = "" if slide.item else "large" if len(slide.title) < 130 else "long"
    parts += [f'<h2 class="{size}">{slide.title}</h2>', slide.item]
    if slide.live:
        address = f"../{language}/live.html#{quote(json.dumps(slide.live))}"
        parts.append(f'<p class="live"><a href="{address}" target="_blank">{SAID[language]["lesson"]["live"]}</a></p>')
    notes = ("".join(slide.notes) + slide.code).replace('.ipynb"', f'.{language}.html"')
    parts.append(f'<aside class="notes">{notes}</aside>')
    n_lines = 1 + len(re.sub("<[^>]+>", "", slide.title)) // LINE
    room = 650 - 53 * n_lines - 45 * bool(slide.kicker) - 45 * bool(slide.live)  # pixels that are left for a figure
    return f'<section style="--room: {room}px">{"".join(parts)}</section>'


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
    (to / "code.css").write_text(HtmlFormatter(style="vs").get_style_defs(".code"), encoding="utf-8")
    for file in (TEMPLATE / "course.css", *(ROOT / "tools" / "fonts").iterdir()):
        shutil.copy(file, to)


def build(folder, notebook_of):
    """Write the decks of the notebooks that `notebook_of(path)` gives, and their index."""
    shutil.rmtree(folder, ignore_errors=True)  # no deck of a notebook that is gone
    copy_reveal(folder)
    rows = {language: "" for language in LANGUAGES}
    for path in sorted(SOURCE.glob("*.ipynb")):
        notebook = notebook_of(path)
        for language in LANGUAGES:
            name, title = f"{path.stem}.{language}.html", html.escape(title_of(notebook, language))
            (folder / name).write_text(page(notebook, language), encoding="utf-8")
            printing = f'<a href="{name}?print-pdf" aria-label="PDF: {title}">PDF</a>'
            rows[language] += f'<li><a href="{name}">{title}</a> · {printing}</li>\n'
    index = Template((TEMPLATE / "index.html").read_text(encoding="utf-8"))
    (folder / "index.html").write_text(index.substitute(rows), encoding="utf-8")


if __name__ == "__main__":
    build(SLIDES, read)
    print(f"Xem / open: {SLIDES.relative_to(ROOT) / 'index.html'}")
