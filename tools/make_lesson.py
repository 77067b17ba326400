"""Run every instructor notebook and write it as a page: `python tools/make_lesson.py`.

The pages, with all figures and without solutions, go to build/lesson/, index.html first.
"""

import re
import sys
import time
from html import escape
from pathlib import Path

import latex2mathml.converter
from make_editions import drop_widgets, read
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter
from traitlets.config import Config

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "build" / "lesson"
INDEX = """<!doctype html><html lang="vi"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Đầu chú ý / Attention heads</title>
<style>body {{ font: 18px/1.6 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem }}</style>
<h1>Tách và khảo sát đầu chú ý<br>Isolating and investigating attention heads</h1>{rows}</html>
"""
# Each page shows both languages, and hides one on request: nbconvert gives cells their tags as classes.
SWITCH = """<style>
.celltag_lang-en { border-left: 3px solid #0072B2 } .celltag_lang-vi { border-left: 3px solid #D55E00 }
.only-vi .celltag_lang-en, .only-en .celltag_lang-vi { display: none }
#language { position: fixed; top: 0.6rem; right: 1rem; z-index: 9 }
</style><script>addEventListener("DOMContentLoaded", () => document.body.insertAdjacentHTML("afterbegin",
`<select id="language" aria-label="Ngôn ngữ / Language" onchange="
document.body.classList.remove('only-vi', 'only-en'); if (this.value) document.body.classList.add(this.value)">
<option value="">Việt + English</option><option value="only-vi">Tiếng Việt</option>
<option value="only-en">English</option>
</select>`))</script></head>"""


def with_mathml(source):
    """Markdown with its formulas as MathML, which browsers draw without a network; code stays as it is."""

    def convert(match):
        if match["code"]:
            return match["code"]
        tex = (match["display"] or match["inline"]).replace(r"\mathrm{", r"\operatorname{").replace(r"\_", "_")
        math = latex2mathml.converter.convert(tex, display="block" if match["display"] else "inline")
        return math.replace("_", "&#95;").replace("*", "&#42;")  # else Markdown would see emphasis

    code = (
        r"(?P<code>(?P<fence>```+|~~~+).*?(?P=fence)|(?P<tick>`+)(?!`).+?(?<!`)(?P=tick)(?!`)|\\\$)"  # or a literal $
    )
    formula = code + r"|\$\$(?P<display>.+?)\$\$|\$(?P<inline>(?:\\\$|[^$])+?)\$"
    return re.sub(formula, convert, source, flags=re.DOTALL)


def exporter():
    """nbconvert's HTML, without solutions and Colab badges, with tables, mathematics and figures in."""
    config = Config({"TagRemovePreprocessor": {"enabled": True, "remove_cell_tags": ("solution", "badge")}})
    return HTMLExporter(config=config, mathjax_url="", require_js_url="", mermaid_js_url="")  # nothing from the network


def title(notebook, language):
    """The heading of the first cell in that language."""
    first = next(cell for cell in notebook.cells if f"lang-{language}" in cell.metadata.get("tags", []))
    return first.source.splitlines()[0].lstrip("# ")


def page_of(notebook, name):
    """The page of a notebook that has been run, as HTML."""
    drop_widgets(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = with_mathml(cell.source)
    page, _ = exporter().from_notebook_node(notebook, {"metadata": {"name": name}})
    return page.replace(".ipynb", ".html").replace("</head>", SWITCH, 1)


def run_and_export(path):
    """Run one notebook, write its page, and return its line for the index."""
    notebook = read(path)
    where, quiet = {"metadata": {"path": path.parent}}, ["--IPKernelApp.log_level=40"]
    NotebookClient(notebook, kernel_name="python3", resources=where, extra_arguments=quiet).execute()
    (PAGES / f"{path.stem}.html").write_text(page_of(notebook, path.stem), encoding="utf-8")
    names = "<br>".join(escape(title(notebook, language)) for language in ("vi", "en"))
    return f'<p><a href="{path.stem}.html">{names}</a></p>'


def main():
    PAGES.mkdir(parents=True, exist_ok=True)
    rows = []
    for path in sorted((ROOT / "notebooks" / "instructor").glob("*.ipynb")):
        print(f"{path.stem} … ", end="", flush=True)
        since = time.perf_counter()
        try:
            rows.append(run_and_export(path))
        except CellExecutionError as error:
            print(f"stopped by an error\n{error}")
            return 1
        print(f"{time.perf_counter() - since:.0f} s", flush=True)
    (PAGES / "index.html").write_text(INDEX.format(rows="\n".join(rows)), encoding="utf-8")
    print(f"Xem / open: {PAGES.relative_to(ROOT) / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
