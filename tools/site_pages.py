"""What the site's pages hold beside the texts: ways to open a lesson, the exercises' table, the API, two maps."""

import inspect
import re

import aero_helpers as aero
from make_editions import badge, has_address, tags

HEADING = {
    "vi": re.compile(r"(?m)^##+ Bài tập (?P<n>\d+) · (?P<name>.+) \((?P<level>[^,]+), (?P<minutes>\d+) phút\)"),
    "en": re.compile(r"(?m)^##+ Exercise (?P<n>\d+) · (?P<name>.+) \((?P<level>[^,]+), (?P<minutes>\d+) minutes\)"),
}
EXERCISES = {
    "vi": (
        "Các bài tập",
        "{n} bài tập. Mỗi bài có một ô để điền và một bộ kiểm tra (checker): bộ kiểm tra nói sai ở đâu chứ không cho đáp án. "
        "`aero.check.progress()` cho biết bạn đã làm được những bài nào.",
        "| | bài tập | yêu cầu | độ khó | phút |",
    ),
    "en": (
        "Exercises",
        "{n} exercises. Each has a cell to fill in and a checker, which says what is wrong and where to look, and never "
        "the answer. `aero.check.progress()` shows what you have solved.",
        "| | exercise | what it asks | difficulty | minutes |",
    ),
}
API = {
    "vi": (
        "Tra cứu API",
        "Mọi tên công khai của `aero_helpers`, theo mô-đun. Docstring viết bằng tiếng Anh, như trong mã: hàm làm gì, kích thước tensor "
        "`[layer, head, query, key]`, các lỗi mà hàm báo và một ví dụ mà bộ kiểm thử có chạy.",
    ),
    "en": (
        "API reference",
        "Every public name of `aero_helpers`, module by module: what it does, shapes as `[layer, head, query, key]`, what it raises, "
        "and an example that the tests run.",
    ),
}


def link(text, target):
    """A link within the site that Sphinx does not look after: what make_site puts beside its pages."""
    return f'<a href="{target}">{text}</a>'


def ways_to_open(path, language):
    """The line under a lesson's title: the notebook to download, its slides, and Colab where the address is settled."""
    name = path.stem
    words = {"vi": ("Tải notebook về", "slide"), "en": ("Download the notebook", "slides")}[language]
    targets = f"notebooks/{name}.ipynb", f"../slides/{name}.{language}.html"
    ways = [link(text, target) for text, target in zip(words, targets)]
    return " · ".join(ways + [badge(path)] * has_address())


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
            paragraph = cell.source[found.end() :].strip().split("\n\n")[0].replace("\n", " ")
            asked = re.split(r"(?<=[.?!:])\s", paragraph)[0].replace("|", r"\|")
            title = link(found["name"], f"{name}.html#s{place}")
            yield f"| {name.split('_')[0]}.{found['n']} | {title} | {asked} | {found['level']} | {found['minutes']} |"
        n_headings += len(re.findall(r"(?m)^#+ ", cell.source))


def exercises(lessons, language):
    """What every exercise asks, how hard it is and how long it takes."""
    title, words, head = EXERCISES[language]
    rows = [row for path, notebook in lessons.items() for row in exercise_rows(notebook, path.stem, language)]
    return "\n".join([f"# {title}", "", words.format(n=len(rows)), "", head, "| --- | --- | --- | --- | --- |", *rows])


def public_names():
    """{module: [public name, …]} in the order of the package's face."""
    by_module = {}
    for name in [*aero.__all__, *(f"plots.{name}" for name in aero.plots.__all__)]:
        thing = inspect.getattr_static(aero, name) if "." not in name else getattr(aero.plots, name.split(".")[1])
        if not inspect.ismodule(thing) and not (name.startswith("plots.") and not callable(thing)):
            module = getattr(thing, "__module__", type(thing).__module__)
            by_module.setdefault(module, []).append(name)
    return by_module


def api(language):
    """The reference, which Sphinx fills with the docstrings."""
    title, words = API[language]
    parts = [f"# {title}", words]
    for module, names in public_names().items():
        parts.append(f"## `{module}`")
        directives = []
        for name in names:
            thing = getattr(aero, name) if "." not in name else getattr(aero.plots, name.split(".")[1])
            kind = "class" if inspect.isclass(thing) else "function" if inspect.isfunction(thing) else "data"
            members = "\n   :members:" if kind == "class" else "\n   :no-value:" if kind == "data" else ""
            directives.append(f".. auto{kind}:: aero_helpers.{name}{members}")
        parts.append("```{eval-rst}\n" + "\n\n".join(directives) + "\n```")
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
FLOW_WORDS = {
    "vi": (
        "Bản đồ các tensor",
        "Khối chú ý của GPT-2, từ trên xuống: mỗi hộp là một tensor, với kích thước, nơi lấy được nó (mô-đun để gắn hook, hay thuộc "
        "tính của bản ghi) và bài học nói về nó. Với GPT-2 Small: D = 768, 12 đầu, d = 64; với `mini`: D = 128, 4 đầu, d = 32. Bấm "
        "vào một hộp để mở bài học.",
        {"raw scores": "điểm thô", "masked scores": "điểm đã chia và che", "weights": "trọng số chú ý"},
        "bài {}",
    ),
    "en": (
        "A map of the tensors",
        "GPT-2's attention block, from top to bottom: each box is a tensor, with its shape, the place where you get hold of it (a "
        "module to hook, or an attribute of the record) and the lesson about it. In GPT-2 Small D = 768, 12 heads, d = 64; in "
        "`mini` D = 128, 4 heads, d = 32. A box opens its lesson.",
        {},
        "lesson {}",
    ),
}


def tensors(language):
    """The named tensors of an attention block, each a link to its lesson."""
    title, words, names, in_lesson = FLOW_WORDS[language]

    def box(name, shape, where, lesson):
        parts = [f"<b>{names.get(name, name)}</b>", f"<span>{shape}</span>", f"<code>{where}</code>" * bool(where)]
        return f'<a href="{lesson}.html">{"".join(parts)}<small>{in_lesson.format(lesson.split("_")[0])}</small></a>'

    rows = []
    for step, row in FLOW:
        rows += [f'<p class="step">↓ {step}</p>'] * bool(step)
        rows.append(f'<div class="tensors">{"".join(box(*tensor) for tensor in row)}</div>')
    return f"# {title}\n\n{words}\n\n" + "\n".join(rows)


def made_pages(lessons, language):
    """{name: Markdown} of the pages that are made rather than written."""
    return {"exercises": exercises(lessons, language), "api": api(language), "tensors": tensors(language)}
