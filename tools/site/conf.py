"""Sphinx' settings for both editions of the site: tools/make_site.py writes the sources and names the language."""

import tomllib
from pathlib import Path

from docutils import nodes
from formulas import mathml
from sphinx.util.osutil import relative_uri

HERE = Path(__file__).parent
SAID = tomllib.loads((HERE / "words.toml").read_text(encoding="utf-8"))

project = "Attention heads"
author = copyright = "Attention heads"
extensions = ["myst_nb", "sphinx.ext.autodoc"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
exclude_patterns = ["notebooks"]
default_role = "code"  # docstrings write `name`
autodoc_typehints = "none"  # docstrings say what a function takes; signatures with types do not fit a phone
toc_object_entries = False
nb_execution_mode = "off"
nb_render_markdown_format = "myst"
nb_mime_priority_overrides = [("html", "text/html", 5), ("html", "image/png", 3)]
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 4
suppress_warnings = ["mystnb.unknown_mime_type"]
html_theme = "furo"
html_show_sphinx = html_show_copyright = html_copy_source = False
templates_path = [str(HERE / "templates")]
html_static_path = [str(HERE / "static")]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"type": "module"})]
html_math_renderer = "mathml"
html_theme_options = {"source_edit_link": "", "top_of_page_buttons": []}


def keep_columns(app, what, name, thing, options, lines):
    """Show what a docstring sets in columns as it stands: an indented block under a line is a literal one."""
    made, in_block = [], False
    for line in lines:
        indented = line.startswith("    ") or (in_block and not line)
        if indented and not in_block and made and made[-1]:
            made += ["", "::", ""]
        if in_block and not indented and made[-1]:
            made.append("")
        in_block = indented
        made.append(line)
    lines[:] = made


def number_headings(app, doctree):
    """Give the sections of a page the names s1, s2, …: the same in both editions, so that a switch keeps the place."""
    for number, section in enumerate(doctree.findall(nodes.section)):
        section["ids"].append(f"s{number}")


def add_context(app, page, template, context, doctree):
    """What the templates need: the edition's words, and the way from this page to the other edition's."""
    language = app.config.language
    twin = {"vi": "en", "en": "vi"}[language]
    context["said"], context["twin"] = SAID[language], twin
    context["to_root"] = relative_uri(app.builder.get_target_uri(page), "")
    context["twin_page"] = f"{context['to_root']}../{twin}/{app.builder.get_target_uri(page)}"


def visit_inline(writer, node):
    writer.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def visit_block(writer, node):
    writer.body.append(f'<div class="formula">{mathml(node.astext(), block=True)}</div>')
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.connect("autodoc-process-docstring", keep_columns)
    app.connect("doctree-read", number_headings)
    app.connect("html-page-context", add_context)
