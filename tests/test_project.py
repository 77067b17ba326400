"""The files around the package say the same thing."""

import ast
import re
import shutil
import subprocess

import make_editions
import pytest
import yaml
from conftest import ROOT
from make_editions import tomllib
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA_NAMES = {"torch": "pytorch", "pytorch": "torch"}


def requirements(lines):
    return {r.name.replace("_", "-").lower(): r.specifier for r in map(Requirement, lines)}


def environment():
    """(conda packages, pip packages) of environment.yml; conda's pytorch is called torch."""
    lines = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    pip = next(line["pip"] for line in lines if isinstance(line, dict))
    conda = [re.sub(r"^pytorch\b", "torch", line) for line in lines if isinstance(line, str)]
    return requirements(conda), pip


def test_environment_and_pyproject_name_the_same_packages_with_the_same_ranges():
    conda, pip = environment()
    extras = SETTINGS["optional-dependencies"]
    wanted = requirements(SETTINGS["dependencies"] + extras["lab"] + ["nbval>=0.11"])
    assert pip == ["--editable ."]
    assert conda.pop("python") == SpecifierSet(SETTINGS["requires-python"])
    assert conda.pop("pip") == SpecifierSet()
    assert conda == wanted


def test_the_packages_that_the_course_promises_are_there():
    promised = {"jupyterlab", "torch", "transformers", "scipy", "seaborn", "nbval", "ipywidgets"}
    assert promised <= set(environment()[0])


def test_constraints_lie_within_the_ranges():
    pins = requirements(
        line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")
    )
    for extra in (SETTINGS["dependencies"], *SETTINGS["optional-dependencies"].values()):
        for name, allowed in requirements(extra).items():
            if name != "aero-helpers":
                version = str(pins[name]).removeprefix("==")
                assert version in allowed, name


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of what the address is written into, with make_editions at work on it."""
    for name in ("notebooks", "docs", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("README.md", "README.vi.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.setattr(make_editions, "ROOT", tmp_path)
    monkeypatch.setattr(make_editions, "SOURCE", tmp_path / "notebooks" / "instructor")
    folders = {name: tmp_path / path.relative_to(ROOT) for name, path in make_editions.EDITIONS.items()}
    monkeypatch.setattr(make_editions, "EDITIONS", folders)
    return tmp_path


def test_the_address_is_settled_everywhere_in_one_step(copy):
    address = "https://github.com/someone/attention-heads"
    make_editions.main([address])
    texts = {
        path: path.read_text(encoding="utf-8") for path in copy.rglob("*") if path.suffix in (".md", ".ipynb", ".toml")
    }
    assert not [path for path, text in texts.items() if "OWNER" in text and path.suffix != ".toml"]
    assert f'Repository = "{address}"' in texts[copy / "pyproject.toml"]
    for name in ("README.md", "README.vi.md", "docs/start.md", "docs/start.vi.md"):
        assert f"git clone {address} && cd attention-heads" in texts[copy / name]
        assert texts[copy / name].count("colab-badge.svg") == len(list((ROOT / "notebooks").glob("*.ipynb")))
    for path in (copy / "notebooks").rglob("*.ipynb"):
        where = path.relative_to(copy).as_posix()
        assert f"/github/someone/attention-heads/blob/v{SETTINGS['version']}/{where})" in texts[path]
        assert f"git+{address}@v{SETTINGS['version']}" in texts[path]
    make_editions.main([address])
    assert texts == {path: path.read_text(encoding="utf-8") for path in texts}  # a second time changes nothing


def test_without_an_address_nothing_is_shown_as_if_it_worked(copy):
    settings, line = (copy / "pyproject.toml").read_text(), 'Repository = "https://github.com/OWNER/attention-heads"'
    placeholder = re.sub(r'(?m)^Repository = ".*"$', line, settings)
    (copy / "pyproject.toml").write_text(placeholder)
    make_editions.main()
    for path in [*copy.rglob("*.md"), *copy.rglob("*.ipynb")]:
        text = path.read_text(encoding="utf-8")
        assert "OWNER" not in text and "colab-badge" not in text, path
    assert "unzip -q attention-heads.zip" in (copy / "README.vi.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "address", ["", "github.com/a/b", "https://gitlab.com/a/b", "https://github.com/OWNER/x", "https://github.com/a"]
)
def test_an_address_that_colab_cannot_open_is_refused(copy, address):
    before = (copy / "pyproject.toml").read_text()
    with pytest.raises(ValueError, match=r"expected https://github.com/NAME/REPOSITORY"):
        make_editions.main([address])
    assert (copy / "pyproject.toml").read_text() == before


@pytest.mark.parametrize("name", ["teaching.md", "teaching.vi.md"])
def test_each_lecture_and_the_lab_fill_ninety_minutes(name):
    plans = (ROOT / "docs" / name).read_text(encoding="utf-8").split("\n## ")[2:5]
    for plan in plans:
        assert sum(int(minutes) for minutes in re.findall(r"^\| (\d+) \|", plan, re.MULTILINE)) == 90, plan[:40]


def test_both_plans_name_the_same_places():
    def places(name):
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        return re.findall(r"^\| (\d+) \| (\d\db?)?", text, re.MULTILINE), re.findall(r"`[^`]+`", text)

    assert places("teaching.md") == places("teaching.vi.md")


@pytest.mark.parametrize("name", ["README.md", "README.vi.md"])
def test_the_package_in_a_few_lines_runs_as_it_stands(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AERO_MODEL", "mini")
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)
    found = {}
    exec(block, found)
    assert found["record"].n_tokens == 8 and (tmp_path / "sea.safetensors").is_file()


def imported(path):
    """The package's modules that a file imports, by the first part of their name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aero_helpers"):
            inner = node.module.split(".")[1:]
            yield from inner[:1] or (alias.name for alias in node.names)


def test_no_door_of_the_package_leads_back():
    """The rooms are those that the package's own words name; a module imports from its own room or one before it."""
    words = ast.get_docstring(ast.parse((ROOT / "aero_helpers" / "__init__.py").read_text(encoding="utf-8")))
    rooms = re.search(r"from left to right: (.*)\.", words, re.DOTALL)[1].split("→")
    room_of = {name: i for i, room in enumerate(rooms) for name in re.findall(r"\w+", room)}
    files = {path: path.relative_to(ROOT / "aero_helpers").parts[0].removesuffix(".py") for path in sources()}
    assert set(files.values()) - {"__init__"} == set(room_of)
    for path, name in files.items():
        if name not in ("__init__", "mini"):  # mini's own report looks at it from outside
            assert all(room_of[other] <= room_of[name] for other in imported(path)), path


def test_no_file_is_too_long_to_be_read_at_once():
    makers = [*(ROOT / "tools").glob("*.py")]
    assert [path.name for path in [*sources(), *makers] if path.read_text(encoding="utf-8").count("\n") > 500] == []


def sources():
    return (ROOT / "aero_helpers").rglob("*.py")


@pytest.fixture
def checkout(tmp_path):
    """What make reads, in a folder whose name has blanks and Vietnamese letters."""
    folder = tmp_path / "thư mục có dấu cách" / "khóa học"
    folder.mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "constraints-colab.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


def make(folder, *arguments):
    return subprocess.run(["make", *arguments], cwd=folder, capture_output=True, text=True)


def pretend_to_be_ready(folder):
    """Put the stamps there that `make lesson` would leave; it then has nothing to install."""
    for stamp in re.findall(r"touch (\.venv/\S+)", make(folder, "-n", "lesson").stdout):
        (folder / stamp).parent.mkdir(exist_ok=True)
        (folder / stamp).touch()
    assert "pip install" not in make(folder, "-n", "lesson").stdout


def other_python(folder, says):
    script = folder / "python-of-another-kind"
    script.write_text(f"#!/bin/sh\nexec python3 -c 'import sys; {says}; exec(sys.argv[1])' \"$2\"\n")
    script.chmod(0o755)
    return f"PYTHON=./{script.name}"


@pytest.mark.parametrize("change", ["moved", "copied", "another Python"])
def test_an_environment_of_another_place_or_python_is_made_anew(checkout, change):
    pretend_to_be_ready(checkout)
    folder, variables = checkout, []
    if change == "moved":
        folder = checkout.rename(checkout.parent / "moved")
    elif change == "copied":
        folder = shutil.copytree(checkout, checkout.parent / "copied")
    else:
        variables = [other_python(checkout, 'sys.version = "3.13.0 (another)"')]
    assert 'venv --clear ".venv"' in make(folder, "-n", "lesson", *variables).stdout


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_other_requirements_are_installed_into_the_same_environment(checkout, name):
    pretend_to_be_ready(checkout)
    (checkout / name).write_text((checkout / name).read_text() + "\n# another line\n")
    commands = make(checkout, "-n", "lesson").stdout
    assert "pip install" in commands and "--clear" not in commands


def test_an_old_python_is_named_before_anything_is_made(checkout):
    old = other_python(checkout, 'sys.version_info = (3, 10, 9); sys.version = "3.10.9 (old)"')
    run = make(checkout, "lesson", old)
    assert run.returncode and "expected Python 3.11 or newer, got 3.10.9" in run.stderr
    assert not (checkout / ".venv").exists()
