"""Models and real data that several tests share."""

import os
import shutil
from copy import deepcopy
from pathlib import Path

import matplotlib
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

import aero_helpers as aero
from aero_helpers.models import LanguageModel

matplotlib.use("agg")
ROOT = Path(__file__).resolve().parent.parent
TEXT = "The old man looked at the sea, and the sea looked back at him. He smiled."


BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")


@pytest.fixture(scope="session")
def browser():
    """Chromium or Chrome; `make test-browser` installs one where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make test-browser")
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
    folder = ROOT / "build" / "browser"
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}.png")


@pytest.fixture(scope="session")
def shared():
    """The folder of real GPT-2 Small tensors and recorded activations, where there is one."""
    folder = Path(os.environ.get("AERO_SHARED", ROOT.parent / "shared")) / "gpt2-small"
    if not folder.is_dir():
        pytest.skip(f"no real GPT-2 Small data at {folder} (set AERO_SHARED)")
    return folder


@pytest.fixture(scope="session")
def mini():
    return aero.load("mini")


def randomised(model):
    """New weights, biases and LayerNorms: a fresh model has zeros and ones there, which hide mistakes."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_scale = parameter.ndim == 1 and name.endswith("weight")  # of a LayerNorm, whatever it is called
            parameter.copy_(1 + 0.3 * noise if is_scale else 0.05 * noise)
    return model.eval()


@pytest.fixture(scope="session")
def full_size(mini):
    """GPT-2 Small's shape of 12 × 12 × 64, randomised, with mini's tokenizer."""
    config = GPT2Config(vocab_size=mini.model.config.vocab_size, n_positions=256)
    return LanguageModel("full size", randomised(GPT2LMHeadModel(config)), mini.tokenizer)


@pytest.fixture(scope="session")
def record(mini):
    return mini.record(TEXT)


@pytest.fixture
def lm(mini):
    """A model of its own that a test may spoil."""
    return LanguageModel("mini", deepcopy(mini.model), mini.tokenizer)
