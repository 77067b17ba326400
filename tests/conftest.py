"""Models and real data that several tests share."""

import os
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
