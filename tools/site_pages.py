"""What the site's pages hold beside the texts: ways to open a lesson, the exercises' table, the API, two maps."""

import inspect
import re

from make_editions import SAID, badge, has_address, tags

import aero_helpers as aero

MADE = ("exercises", "checklist", "api", "tensors")
HEADING = {
    "vi": re.compile(r"(?m)^##+ Bài tập (?P<n>\d+) · (?P<name>.+) \((?P<level>[^,]+), (?P<minutes>\d+) phút\)"),
    "en": re.compile(r"(?m)^##+ Exercise (?P<n>\d+) · (?P<name>.+) \((?P<level>[^,]+), (?P<minutes>\d+) minutes\)"),
}


def link(text, target):
    """A link within the site that Sphinx does not look after: what make_site puts beside its pages."""
    return f'<a href="{target}">{text}</a>'


def ways_to_open(path, language):
    """The line under a lesson's title: the notebook to download, its slides, and Colab where the address is settled."""
    name = path.stem
    words = SAID[language]["lesson"]["notebook"], SAID[language]["lesson"]["slides"]
    targets = f"notebooks/{name}.ipynb", f"../slides/{name}.{language}.html"
    ways = [link(text, target) for text, target in zip(words, targets)]
    return " · ".join(ways + [badge(path)] * has_address())


def saved_page(language):
    """The way to the page that lesson 04 saves, beside the cell that does so."""
    return link(SAID[language]["lesson"]["saved_page"], f"../live/heads.{language}.html")


def hide_what_needs_an_address(page):
    """Take the setup cell's installation out of a page while there is no address to install from."""
    for cell in page.cells:
        if "setup" in tags(cell) and not has_address():
            cell.source = "import aero_helpers as aero\n" + cell.source[cell.source.index("import matplotlib") :]


def exercise_rows(notebook, name, language):
    """A row of the overview for each exercise of a notebook; s1, s2, … are the page's headings (see site/conf.py)."""
    n_headings = 0
    for cell in (cell for cell in notebook.cells if cell.cell_type == "markdown"):
        found = HEADING[language].search(cell.source)
        if found:
            place = n_headings + len(re.findall(r"(?m)^#+ ", cell.source[: found.start()]))
            title = link(found["name"], f"{name}.html#s{place}")
            effort = SAID[language]["exercises"]["effort"].format(**found.groupdict())
            yield f"| {title}<br>{effort} | {asked(cell.source[found.end() :])} |"
        n_headings += len(re.findall(r"(?m)^#+ ", cell.source))


def asked(text):
    """What an exercise asks: its first paragraph, and where that only leads on, the next one that is prose."""
    paragraphs = [
        block for block in text.strip().split("\n\n") if not block.startswith(("|", "$$", "```", "- ", "1. "))
    ]
    n = 2 if paragraphs[0].endswith(":") else 1
    return " … ".join(" ".join(block.split()) for block in paragraphs[:n]).replace("|", r"\|")


def exercises(lessons, language):
    """What every exercise asks, how hard it is and how long it takes, lesson by lesson."""
    said, parts, total = SAID[language]["exercises"], [], 0
    for path, notebook in lessons.items():
        rows = list(exercise_rows(notebook, path.stem, language))
        total += len(rows)
        title = notebook.cells[0].source.splitlines()[0].lstrip("# ")
        parts += [f"## {title}", "\n".join([said["head"], "| --- | --- |", *rows])]
    return "\n\n".join([f"# {said['title']}", said["words"].format(n=total), *parts])


def public_things():
    """{module: [(name, thing), …]} of all that the package offers, in the order of its face."""
    face = {**vars(aero), **{f"plots.{name}": getattr(aero.plots, name) for name in aero.plots.__all__}}
    by_module = {}
    for name in [
        *aero.__all__,
        *(f"plots.{name}" for name in aero.plots.__all__ if callable(getattr(aero.plots, name))),
    ]:
        thing = face[name]
        if not inspect.ismodule(thing) and (name in aero.__all__ or name.split(".")[1] not in aero.__all__):
            by_module.setdefault(getattr(thing, "__module__", type(thing).__module__), []).append((name, thing))
    return by_module


def directive(name, thing):
    """What tells Sphinx to show a docstring."""
    if inspect.isclass(thing):
        fields = getattr(thing, "_fields", ())
        return f".. autoclass:: aero_helpers.{name}\n   :members:\n   :exclude-members: {', '.join(fields) or '_'}"
    if callable(thing) and inspect.isroutine(thing):
        return f".. autofunction:: aero_helpers.{name}"
    return f".. autodata:: aero_helpers.{name}\n   :no-value:"


def api(language):
    """The reference, which Sphinx fills with the docstrings."""
    parts = [f"# {SAID[language]['api']['title']}", SAID[language]["api"]["words"]]
    for module, things in public_things().items():
        directives = "\n\n".join(directive(name, thing) for name, thing in things)
        parts += [f"## `{module}`", f"```{{eval-rst}}\n{directives}\n```"]
    return "\n\n".join(parts)


def rooms():
    """The package's modules as a row of boxes, from left to right: as its docstring names them, and a test holds."""
    words = re.search(r"from left to right: (.*?)\.\s*$", aero.__doc__, re.DOTALL)[1]
    boxes = ("".join(f"<code>{name}</code>" for name in re.findall(r"\w+", room)) for room in words.split("→"))
    return '<ol class="rooms">' + "".join(f"<li>{box}</li>" for box in boxes) + "</ol>"


# From the residual stream into an attention block and back: (what leads there, tensors), each tensor as
# (name, shape, the module whose output a hook catches or where else to find it, lesson).
BLOCK = "transformer.h[l]"
FLOW = [
    ("", [("x", "[batch, T, D]", f"{BLOCK}.ln_1", "02_c_attn_slicing")]),
    ("x · W + b", [("QKV", "[batch, T, 3D]", f"{BLOCK}.attn.c_attn", "02_c_attn_slicing")]),
    ("split", [(name, "[batch, T, D]", "", "02_c_attn_slicing") for name in "QKV"]),
    ("view, transpose", [(f"{name}", "[batch, head, T, d]", "", "03_head_split") for name in "qkv"]),
    ("q · kᵀ", [("raw scores", "[layer, head, query, key]", "record.raw_scores", "04_negative_shift")]),
    ("÷ √d, + mask", [("masked scores", "[layer, head, query, key]", "", "01_causal_mask")]),
    ("softmax", [("weights", "[layer, head, query, key]", "record.weights()", "01_causal_mask")]),
    ("weights · v", [("z", "[batch, head, T, d]", "", "03_head_split")]),
    ("merge, z · W_O + b", [("out", "[batch, T, D]", f"{BLOCK}.attn.c_proj", "03_head_split")]),
]


def tensors(language):
    """The named tensors of an attention block, each a link to its lesson."""
    said = SAID[language]["tensors"]

    def box(name, shape, where, lesson):
        shown = f"<b>{said['names'].get(name, name)}</b><span>{shape}</span>" + f"<code>{where}</code>" * bool(where)
        number = said["lesson"].format(lesson.split("_")[0])
        return f'<a href="{lesson}.html">{shown}<small>{number}</small></a>'

    rows = []
    for step, row in FLOW:
        rows += [f'<p class="step">↓ {step}</p>'] * bool(step)
        rows.append(f'<div class="tensors">{"".join(box(*tensor) for tensor in row)}</div>')
    return f"# {said['title']}\n\n{said['words']}\n\n" + "\n".join(rows)


def checklist(lessons):
    """Lesson 08's checklist as a page of its own, to print."""
    return next(
        cell.source.replace("## ", "# ", 1)
        for notebook in lessons.values()
        for cell in notebook.cells
        if "checklist" in tags(cell)
    )


def made_pages(lessons, language):
    """{name: Markdown} of the pages that are made rather than written; MADE names them."""
    texts = exercises(lessons, language), checklist(lessons), api(language), tensors(language)
    return dict(zip(MADE, texts))
