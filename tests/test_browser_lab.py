"""The course as a student meets it: JupyterLab on copies of the notebooks, in a real browser.

`make test-browser` runs this file, and installs a browser where there is none.
"""

import base64
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.request import urlopen

import nbformat
import pytest
from conftest import ROOT

LONG, SHORT = 180_000, 60_000  # milliseconds: to run a whole notebook, to open one
PLUGINS = {
    "notebook-extension/tracker": {"windowingMode": "none"},  # all cells are in the page, seen or not
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """(address, folder) of a running JupyterLab whose folder holds copies of the student notebooks."""
    folder, settings = tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("settings")
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        shutil.copy(notebook, folder)
    for name, values in PLUGINS.items():
        path = settings / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--IdentityProvider.token="]
    command += [f"--port={port}", f"--notebook-dir={folder}"]
    log_file = settings / "server.log"
    environment = os.environ | {"AERO_MODEL": "mini", "JUPYTERLAB_SETTINGS_DIR": str(settings)}
    with log_file.open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            address = f"http://127.0.0.1:{port}/lab"
            wait_for(address, server, log_file)
            yield address, folder
        finally:
            server.terminate()
            server.wait(timeout=30)


def wait_for(address, server, log, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until and server.poll() is None:
        try:
            return urlopen(address).close()
        except URLError:
            time.sleep(0.3)
    raise RuntimeError(
        f"JupyterLab: expected an answer at {address} within {seconds} s, got\n{log.read_text()[-2000:]}"
    )


def open_notebook(page, lab, name):
    page.goto(f"{lab[0]}/tree/{name}?reset", timeout=SHORT)  # reset: without what an earlier test had open
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=SHORT)
    page.locator("#jp-main-statusbar").get_by_text("| Idle").wait_for(timeout=SHORT)


def run_all(page):
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    # every code cell has its number, the last one too
    page.wait_for_function(
        """() => [...document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputPrompt')]
            .every(prompt => /\\[\\d+\\]/.test(prompt.textContent))""",
        timeout=LONG,
    )


def saved(page, lab, name):
    """The notebook as JupyterLab writes it to disk."""
    before = (lab[1] / name).stat().st_mtime_ns
    page.keyboard.press("Control+s")
    for _ in range(100):
        if (lab[1] / name).stat().st_mtime_ns != before:
            break
        page.wait_for_timeout(100)
    return nbformat.read(lab[1] / name, as_version=4)


def errors(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


def cell_with(page, text):
    """The code cell that holds a text now; it stays that cell when the text changes."""
    cells = page.locator(".jp-Notebook .jp-CodeCell")
    return cells.nth(next(i for i, shown in enumerate(cells.all_inner_texts()) if text in shown))


def answer(page, cell, source):
    """Type a new text into a cell, as a student does, and run it; returns what it shows."""
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(source)
    number = cell.locator(".jp-InputPrompt").text_content()
    page.keyboard.press("Control+Enter")
    page.wait_for_function(
        "([cell, before]) => { const now = cell.querySelector('.jp-InputPrompt').textContent;"
        " return /\\[\\d+\\]/.test(now) && now !== before }",
        arg=[cell.element_handle(), number],
        timeout=LONG,
    )
    return cell.locator(".jp-OutputArea").inner_text()


@pytest.mark.parametrize("name", ["01_causal_mask.ipynb", "04_negative_shift.ipynb"])
def test_run_all_reaches_the_end_with_no_exercise_solved(page, lab, name):
    open_notebook(page, lab, name)
    run_all(page)
    notebook = saved(page, lab, name)
    assert errors(notebook) == []
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert "LanguageModel('mini'" in code[0].outputs[0].text
    assert sum("☐" in str(cell.outputs) for cell in code) >= 4  # exercises not attempted, no error


def test_a_right_answer_turns_green_a_wrong_one_is_named_and_the_language_switches(page, lab):
    open_notebook(page, lab, "01_causal_mask.ipynb")
    run_all(page)
    cell = cell_with(page, "def my_additive_mask")
    cell.scroll_into_view_if_needed()
    call = "aero.check.additive_mask(lambda n: {})"
    boolean = answer(page, cell, call.format("aero.causal_mask(n)"))
    assert "✘" in boolean and "mặt nạ Boolean" in boolean and "boolean mask" in boolean
    right = answer(page, cell, call.format("torch.full((n, n), -torch.inf).triu(1)"))
    assert "✔" in right and "✘" not in right
    border = cell.locator(".jp-OutputArea [style*='border-left']").evaluate("e => getComputedStyle(e).borderLeftColor")
    assert border == "rgb(27, 127, 59)"  # green
    vietnamese = answer(page, cell, "aero.set_language('vi')\n" + call.format("aero.causal_mask(n)"))
    assert "mặt nạ Boolean" in vietnamese and "boolean mask" not in vietnamese
    english = answer(page, cell, "aero.set_language('en')\n" + call.format("aero.causal_mask(n)"))
    assert "boolean mask" in english and "mặt nạ" not in english


def picture(explorer):
    """A digest of the image that a widget shows."""
    data = explorer.locator("img:visible").evaluate(
        """async image => {
            const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
            return btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ''));
        }"""
    )
    return hashlib.sha256(base64.b64decode(data)).hexdigest()


def wait_for_another_picture(page, explorer, before):
    for _ in range(100):
        if picture(explorer) != before:
            return picture(explorer)
        page.wait_for_timeout(100)
    raise AssertionError("the picture did not change within 10 s")


def test_each_control_of_the_explorer_changes_the_picture(page, lab):
    open_notebook(page, lab, "04_negative_shift.ipynb")
    run_all(page)
    explorer = cell_with(page, "aero.explore(record)")
    explorer.scroll_into_view_if_needed()
    expect = pytest.importorskip("playwright.sync_api").expect
    expect(explorer.locator("img:visible")).to_have_count(1)  # the widget hides its still
    seen = [picture(explorer)]
    handles = explorer.locator(".noUi-handle")
    assert handles.count() == 3  # layer, head, query
    for i, key in enumerate(("ArrowRight", "ArrowRight", "ArrowLeft")):
        handles.nth(i).focus()
        page.keyboard.press(key)
        seen.append(wait_for_another_picture(page, explorer, seen[-1]))
    explorer.get_by_text("điểm thô / raw scores").click()
    seen.append(wait_for_another_picture(page, explorer, seen[-1]))
    explorer.locator("input[type=checkbox]").click()
    seen.append(wait_for_another_picture(page, explorer, seen[-1]))
    assert len(set(seen)) == 6

    saved(page, lab, "04_negative_shift.ipynb")
    shutil.copy(lab[1] / "04_negative_shift.ipynb", lab[1] / "opened_again.ipynb")
    open_notebook(page, lab, "opened_again.ipynb")  # with a kernel of its own, which knows no widget
    explorer = cell_with(page, "aero.explore(record)")
    explorer.get_by_alt_text("A still of the picture").scroll_into_view_if_needed()
    assert picture(explorer) == seen[0]

    saved_page = cell_with(page, "aero.save_page(").locator("iframe").content_frame  # which needs neither
    saved_page.locator("#add").fill("50")
    saved_page.locator("#outcome").get_by_text("không trọng số nào đổi theo").wait_for()
    saved_page.locator("#clip").check()
    saved_page.locator("#outcome").get_by_text("Trọng số đã đổi").wait_for()
