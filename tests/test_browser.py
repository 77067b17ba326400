"""The course as a student meets it: JupyterLab on copies of the notebooks, and the slides, in a real browser.

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
import threading
import time
import unicodedata
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import make_lesson
import make_live
import make_slides
import nbformat
import numpy as np
import pytest
import torch
from conftest import ROOT

import aero_helpers as aero
from aero_helpers import interventions

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make test-browser")
LONG, SHORT = 180_000, 60_000  # milliseconds: to run a whole notebook, to open one
SCREENSHOTS = ROOT / "build" / "browser"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
PLUGINS = {
    "notebook-extension/tracker": {"windowingMode": "none"},  # all cells are in the page, seen or not
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


@pytest.fixture(scope="session")
def browser():
    with sync_api.sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        path = next(filter(None, map(shutil.which, BROWSERS)), own if Path(own).exists() else None)
        if path is None:
            pytest.skip("no Chromium or Chrome on this machine: `make test-browser` installs one")
        browser = playwright.chromium.launch(executable_path=path, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, request):
    """A page whose last state is kept as a picture in build/browser, whether the test passed or not."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    yield page
    screenshot(page, request.node.name)
    page.close()


def screenshot(page, name):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


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
    sync_api.expect(explorer.locator("img:visible")).to_have_count(1)  # the widget hides its still
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


def test_a_page_of_the_lesson_needs_no_network(page, tmp_path):
    notebook = nbformat.read(make_slides.SOURCE / "04_negative_shift.ipynb", as_version=4)
    (tmp_path / "page.html").write_text(make_lesson.page_of(notebook, "04_negative_shift"), encoding="utf-8")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "page.html").as_uri())
    page.locator("math").first.wait_for()
    pictures = sum(
        "image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])
    )
    assert page.locator("img").count() == pictures >= 4 and "\\sqrt" not in page.locator("body").inner_text()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def test_the_slides_fit_turn_and_need_no_network(page):
    make_slides.main()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.set_viewport_size({"width": 1280, "height": 720})
    for path in sorted(make_slides.SLIDES.glob("0*.html")):
        page.goto(path.as_uri())
        page.locator(".reveal.ready").wait_for()
        sizes = page.evaluate(
            """() => Reveal.getSlides().map(slide => {
                const {h, v} = Reveal.getIndices(slide); Reveal.slide(h, v || 0);
                return [h, v || 0, slide.scrollHeight, slide.scrollWidth];
            })"""
        )
        assert len(sizes) > 10
        assert [size for size in sizes if size[2] > 720 or size[3] > 1280] == [], path.name
    page.evaluate("Reveal.slide(0, 0)")
    first = page.evaluate("Reveal.getCurrentSlide().innerText")
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(200)
    assert page.evaluate("Reveal.getCurrentSlide().innerText") != first
    assert page.evaluate("getComputedStyle(document.querySelector('.reveal p')).fontSize") == "30px"
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


# ---- the live page

TEXTS = [
    *(scene.text.split(". ")[0] + "." for scene in aero.read_scenes()[:12]),
    "Ông già nhìn ra biển, và biển lặng.",
    unicodedata.normalize("NFD", "Tiếng Việt có dấu"),
    "A 🧑‍🚀 and a 🐟, שלום, 日本語!",
    "don't  stop\n\n\tnow   ",
    "1, 2, 3, 10, 1000",
    "A.<|endoftext|>B",
    "the the the the",
    "\u00a0x\u3000y\u0085z\ufeff",
]
KEPT = "The old man looked at the sea, and the sea was calm."


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The address of the site, served from a folder."""
    folder = tmp_path_factory.mktemp("site")
    make_live.build(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def live(page, site):
    """The live page, opened; whatever its console says of errors, and whatever it asks of other machines, fails."""
    faults = []
    page.on("console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith((site, "data:")) else faults.append(request.url))
    page.goto(f"{site}/en/live.html")
    page.locator("#outcome table").wait_for(timeout=SHORT)
    yield page
    assert faults == []


@pytest.fixture(scope="module")
def mini():
    return aero.load("mini")


def asked(page, what, argument):
    """What `window.attention` answers: {tokens, raw_scores [layer, head, query, key], loss, last logits}."""
    found = page.evaluate(
        f"""async argument => {{
            const found = await window.attention.{what}(argument);
            const text = array => btoa(Array.from(new Uint8Array(array.buffer, array.byteOffset, array.byteLength),
                byte => String.fromCharCode(byte)).join(''));
            return {{tokens: found.tokens, scores: text(found.rawScores), logits: text(found.logits.slice(-2048)),
                     loss: found.loss}};
        }}""",
        argument,
    )
    scores, logits = (np.frombuffer(base64.b64decode(found[name]), np.float32) for name in ("scores", "logits"))
    n_tokens = len(found["tokens"])
    return found["tokens"], scores.reshape(6, 4, n_tokens, n_tokens), found["loss"], logits


def test_the_live_page_computes_what_the_model_computes(live, mini):
    past = aero.causal_mask
    for text in TEXTS:
        tokens, scores, loss, logits = asked(live, "record", text)
        record = mini.record(text)
        assert tokens == record.tokens
        own, mask = record.raw_scores.numpy(), past(record.n_tokens).numpy()
        assert np.abs(scores - own)[..., mask].max() <= 1e-3 * np.abs(own[..., mask]).max(), text
        with torch.no_grad():
            own_logits = mini.model(mini.encode(text)[0][None]).logits[0, -1].numpy()
        assert np.abs(logits - own_logits).max() < 1e-3 and abs(loss - mini.loss(text)) < 1e-3


def test_each_change_on_the_live_page_is_the_models_own(live, mini):
    asked(live, "record", KEPT)
    profile = make_live.position_profile()
    changes = {
        "as it is": ({}, lambda scores, layer: scores),
        "add": ({"add": 40}, lambda scores, layer: scores + 40),
        "narrow": ({"spread": 0.5}, interventions.scale_spread(0.5)),
        "wide": ({"spread": 2}, interventions.scale_spread(2)),
        "clip": ({"clip": True}, interventions.clip_negative),
        "hide 0": ({"hide": 0}, interventions.hide_key(0)),
        "hide 3": ({"hide": 3}, interventions.hide_key(3)),
        "level": ({"keep": "level"}, interventions.level_alone),
        "position": ({"keep": "position"}, interventions.position_alone(profile)),
        "content": ({"keep": "content"}, interventions.content_alone(profile)),
    }
    none = {"add": 0, "spread": 1, "clip": False, "hide": None, "keep": None}
    losses = set()
    for what, function in changes.values():
        _, scores, loss, _ = asked(live, "change", none | what)
        with mini.intervene(function):
            record, own = mini.record(KEPT), mini.loss(KEPT)
        mask = aero.causal_mask(record.n_tokens).numpy()
        assert abs(loss - own) < 1e-3, what
        assert np.abs(scores - record.raw_scores.numpy())[..., mask].max() <= 1e-3 * record.raw_scores.abs().max()
        losses.add(round(own, 4))
    assert len(losses) == len(changes) - 1  # what is added to all scores changes no loss; all else does
    live.select_option("#scope", "head")
    live.get_by_role("button", name="Head 3.2", exact=True).click()
    _, _, loss, _ = asked(live, "change", none | {"clip": True})
    with mini.intervene(one_head_clipped):
        assert abs(loss - mini.loss(KEPT)) < 1e-3


def one_head_clipped(scores, layer):
    changed = scores.clone()
    if layer == 3:
        changed[:, 2] = changed[:, 2].clamp(min=0)
    return changed


def test_the_live_page_says_what_a_change_does_and_its_link_holds_the_view(live, site):
    outcome = live.locator("#outcome")
    assert "Nothing is changed yet" in outcome.inner_text()
    live.locator("#add").fill("30")
    outcome.get_by_text("no weight with them").wait_for()
    live.locator("#clip").check()
    outcome.get_by_text("The weights have changed").wait_for()
    live.get_by_role("radio", name="raw scores").check()
    live.locator("#map").focus()
    for key in ("ArrowUp", "ArrowLeft"):
        live.keyboard.press(key)
    box, before = live.locator("#map").bounding_box(), live.locator("#cell").inner_text()
    live.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 40)
    assert live.locator("#cell").inner_text() != before
    live.mouse.move(0, 0)
    live.keyboard.press("ArrowLeft")
    cell = live.locator("#cell").inner_text()
    assert cell.startswith("Query") and "weight" in cell
    address, text = live.url, outcome.inner_text()
    live.goto("about:blank")
    live.goto(address)
    live.get_by_text("The weights have changed").wait_for(timeout=SHORT)
    assert live.locator("#outcome").inner_text() == text and live.locator("#cell").inner_text() == cell
    live.locator("#twin").click()
    live.locator("#outcome").get_by_text("Trọng số đã đổi").wait_for(timeout=SHORT)
    assert live.url.startswith(f"{site}/vi/live.html#") and live.locator("#add").input_value() == "30"


@pytest.mark.parametrize("language", ["vi", "en"])
@pytest.mark.parametrize("width", [390, 1024, 1440, 1920])
def test_the_live_page_fits_every_screen(page, site, language, width):
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(f"{site}/{language}/live.html")
        page.locator("#outcome table").wait_for(timeout=SHORT)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"live_{language}_{width}_{scheme}.png", full_page=True)


def test_a_saved_page_of_a_record_needs_nothing_but_a_browser(page, tmp_path, mini):
    record = mini.record(KEPT)
    aero.save_page(record, tmp_path / "heads.html")
    faults = []
    page.on("console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "request", lambda request: faults.append(request.url) if not request.url.startswith(("file:", "data:")) else 0
    )
    page.goto((tmp_path / "heads.html").as_uri())
    page.locator("#outcome table").wait_for(timeout=SHORT)
    tokens, scores = page.evaluate(
        """async () => { const found = await window.attention.change({});
            return [found.tokens, Array.from(found.rawScores)]; }"""
    )
    mask = aero.causal_mask(record.n_tokens).numpy()
    scores = np.array(scores, np.float32).reshape(record.raw_scores.shape)
    assert tokens == record.tokens and np.abs(scores - record.raw_scores.numpy())[..., mask].max() < 0.01
    page.locator("#add").fill("30")
    page.locator("#outcome").get_by_text("không trọng số nào đổi theo").wait_for()
    page.locator("#twin").click()
    page.locator("#outcome").get_by_text("no weight with them").wait_for()
    page.locator("#clip").check()
    page.locator("#outcome").get_by_text("The weights have changed.").wait_for()
    assert not page.locator("#text").is_visible() and "Next" not in page.locator("#outcome").inner_text()
    assert page.title() == "The attention heads of mini" and faults == []
