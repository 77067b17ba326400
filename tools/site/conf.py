"""Sphinx' settings for both editions of the site: tools/make_site.py writes the sources and names the language."""

import ast
import re
import textwrap
from pathlib import Path

from docutils import nodes
from formulas import mathml
from make_editions import SAID
from sphinx.util.osutil import relative_uri

HERE = Path(__file__).parent

project = "Attention heads"
author = copyright = "Attention heads"
extensions = ["myst_nb", "sphinx.ext.autodoc"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
default_role = "code"  # docstrings write `name`
autodoc_typehints = "none"  # docstrings say what a function takes; signatures with types do not fit a phone
toc_object_entries_show_parents = "hide"
autodoc_preserve_defaults = True
smartquotes = False  # "isj" is typed with straight ones
nb_execution_mode = "off"
nb_render_markdown_format = "myst"
nb_mime_priority_overrides = [("html", "text/html", 5), ("html", "image/png", 3)]
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 4
suppress_warnings = ["mystnb.unknown_mime_type"]
html_theme = "furo"
html_use_index = html_show_sphinx = html_show_copyright = html_copy_source = False
templates_path = [str(HERE / "templates")]
html_static_path = [str(HERE / "static"), str(HERE.parent / "fonts")]
html_favicon = str(HERE / "static" / "icon.svg")
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
html_math_renderer = "mathml"
html_theme_options = {"source_edit_link": "", "top_of_page_buttons": []}


def as_set(app, what, name, thing, options, lines):
    """Show what a docstring sets in lines of its own, as columns or as "name: what it is", as it stands."""
    lines[:] = "\n\n".join(map(block, "\n".join(lines).split("\n\n"))).split("\n")


def block(paragraph):
    if paragraph.startswith(">>>"):
        return paragraph
    is_indented = all(line.startswith("    ") for line in paragraph.split("\n") if line)
    names = re.findall(r"^[a-z_0-9]+(?:, [a-z_0-9]+)*: ", paragraph, re.MULTILINE)
    in_lines = re.search(r"^ {4}|\S {2,}\S", paragraph, re.MULTILINE)
    if not in_lines and len(names) < 2:
        return paragraph
    lines = textwrap.dedent(paragraph).split("\n")
    kind = "python" if is_indented and is_python("\n".join(lines)) else "text"
    return f".. code-block:: {kind}\n\n" + "\n".join(f"    {line}" for line in lines)


def is_python(text):
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def number_headings(app, doctree):
    """Give the sections of a page the names s1, s2, …: the same in both editions, so that a switch keeps the place."""
    for number, section in enumerate(doctree.findall(nodes.section)):
        section["ids"].append(f"s{number}")


def add_context(app, page, template, context, doctree):
    """What the templates need: the edition's words, and the way from this page to the other edition's."""
    language = app.config.language
    twin = {"vi": "en", "en": "vi"}[language]
    context["said"], context["twin"] = SAID[language], twin
    for name in ("_", "gettext"):  # what the theme says and Sphinx has no Vietnamese for
        context[name] = lambda text: SAID[language]["theme"].get(text.strip(), text)
    context["to_root"] = relative_uri(app.builder.get_target_uri(page), "")
    context["twin_page"] = f"{context['to_root']}../{twin}/{app.builder.get_target_uri(page)}"


def visit_inline(writer, node):
    writer.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def visit_block(writer, node):
    writer.body.append(f'<div class="formula">{mathml(node.astext(), block=True)}</div>')
    raise nodes.SkipNode


def set_title(app, config):
    config.html_title = SAID[config.language]["title"]


def setup(app):
    app.connect("config-inited", set_title)
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.connect("autodoc-process-docstring", as_set)
    app.connect("doctree-read", number_headings)
    app.connect("html-page-context", add_context)
