"""Against the real GPT-2 Small: recorded activations and attention tensors. Skipped where they are absent."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import randomised
from safetensors.torch import load_file
from scipy.stats import spearmanr
from transformers import GPT2Config, GPT2TokenizerFast
from transformers.models.gpt2.modeling_gpt2 import GPT2Attention

import aero_helpers as aero
from aero_helpers.tokens import readable_tokens


@pytest.fixture(scope="module")
def recorded(shared):
    """[(record, weights recorded by another implementation)] of three prompts."""
    prompts = json.loads((shared / "recorded_prompts.json").read_text(encoding="utf-8"))
    with np.load(shared / "recorded_scores.npz") as file:
        return [
            (aero.AttentionRecord(prompt["tokens"], file[f"raw_scores_{i}"], 64, "gpt2"), file[f"weights_{i}"])
            for i, prompt in enumerate(prompts)
        ]


@pytest.fixture(scope="module")
def tensors(shared):
    return {name: tensor.float() for name, tensor in load_file(shared / "attention.safetensors").items()}


@pytest.fixture(scope="module")
def table(recorded):
    """Per head, the mean over the prompts, which are equally long."""
    tables = pd.concat([aero.shift_table(record) for record, _ in recorded])
    return tables.groupby(["layer", "head"], as_index=False).mean()


def test_weights_are_reproduced_for_all_432_heads(recorded):
    compared = 0
    for record, weights in recorded:
        assert np.abs(record.weights().numpy() - weights).max() < 1e-5
        compared += weights.shape[0] * weights.shape[1]
    assert compared == 432


@pytest.mark.parametrize(
    ("entries", "share", "median"),
    [
        ("causal", 0.683, -9.4),
        ("without_key_0", 0.833, -14.9),
        ("without_diagonal", 0.674, None),
        ("key_0", 0.333, 8.1),
        ("last_query", 0.862, -16.0),
        ("future", 0.721, None),
    ],
)
def test_shift_by_choice_of_entries(recorded, entries, share, median):
    tables = [aero.shift_table(record, entries) for record, _ in recorded]
    assert pd.concat(tables).share_below_zero.mean() == pytest.approx(share, abs=5e-4)
    chosen = [r.raw_scores[..., aero.select_entries(r.n_tokens, entries)].numpy().ravel() for r, _ in recorded]
    if median is not None:
        assert np.median(np.concatenate(chosen)) == pytest.approx(median, abs=0.1)


def test_shift_by_layer_and_head(table):
    by_layer = [0.66, 0.77, 0.95, 0.86, 0.79, 0.67, 0.76, 0.65, 0.67, 0.62, 0.49, 0.29]
    assert table.groupby("layer").share_below_zero.mean().to_list() == pytest.approx(by_layer, abs=6e-3)
    assert (table.share_below_zero > 0.5).sum() == 114
    positive = table.set_index(["layer", "head"]).share_below_zero.loc[[(0, 10), (11, 0), (11, 7), (11, 10)]]
    assert (positive < 0.2).all()


def test_the_sink_by_layer(table):
    by_layer = [0.35, 0.56, 0.60, 0.66, 0.69, 0.81, 0.82, 0.87, 0.79, 0.87, 0.88, 0.75]
    assert table.sink_weight.mean() == pytest.approx(0.72, abs=5e-3)
    assert table.groupby("layer").sink_weight.mean().to_list() == pytest.approx(by_layer, abs=6e-3)


@pytest.mark.parametrize(
    ("column", "against", "rho"),
    [
        ("share_below_zero", "entropy", 0.50),
        ("row_spread", "entropy", -0.92),
        ("row_spread", "share_tiny_weights", 0.95),
        ("sink_gap", "entropy", -0.86),
    ],
)
def test_sparsity_goes_with_the_spread_and_not_with_the_sign(table, column, against, rho):
    assert spearmanr(table[column], table[against]).statistic == pytest.approx(rho, abs=0.01)


def test_at_like_spread_the_sign_says_next_to_nothing(table):
    def partial(heads):
        return aero.rank_correlation(heads, "share_below_zero", "entropy", given="row_spread")

    assert partial(table) == pytest.approx(0.16, abs=0.01)


def test_the_first_word_for_the_sink_is_its_gap(recorded, table):
    """122 of 144 heads put more than half of their weight on key 0, against 0.29 by chance."""
    assert (table.sink_weight > 0.5).sum() == 122
    chance = np.mean([1 / n for n in range(2, 7)])
    assert chance == pytest.approx(0.29, abs=5e-3)
    assert (table.sink_gap > 0).mean() > 0.9


def test_most_of_the_scores_is_invisible_to_the_softmax(recorded):
    past = aero.causal_mask(6)
    raw = torch.stack([record.raw_scores for record, _ in recorded])
    mean = (raw * past).sum(-1, keepdim=True) / past.sum(-1, keepdim=True)
    counted = past & (torch.arange(6)[:, None] > 0)  # a row of one score is nothing but its mean
    assert ((mean**2 * counted).sum() / (raw**2 * counted).sum()).item() == pytest.approx(0.61, abs=5e-3)
    change = aero.attention_weights(raw - mean, 64) - aero.attention_weights(raw, 64)
    assert change.abs().max() < 1e-5


def test_the_middle_third_of_the_real_c_attn_is_k(tensors):
    """‖b_K‖ by layer, known from elsewhere, tells the thirds apart: Q, then K, then V."""
    norms = []
    for layer in range(12):
        assert tensors[f"h.{layer}.attn.c_attn.weight"].shape == (768, 2304)
        parts = aero.split_qkv(tensors[f"h.{layer}.attn.c_attn.weight"])
        assert [part.shape for part in parts] == [(768, 768)] * 3
        norms.append(aero.split_qkv(tensors[f"h.{layer}.attn.c_attn.bias"][None])[1].norm().item())
    assert norms[0] == pytest.approx(5.1, abs=0.05) and norms[4] == pytest.approx(9.8, abs=0.05)
    assert all(2.2 < norm < 3.1 for layer, norm in enumerate(norms) if layer not in (0, 4))


@pytest.mark.parametrize("layer", [0, 4, 11])
def test_the_lessons_steps_on_real_weights_give_transformers_own_attention(tensors, layer):
    config = GPT2Config(attn_implementation="eager")
    module = randomised(GPT2Attention(config, layer_idx=layer))
    module.load_state_dict(
        {k.removeprefix(f"h.{layer}.attn."): v for k, v in tensors.items() if f"h.{layer}.attn." in k}
    )
    x = torch.randn(1, 9, 768, generator=torch.Generator().manual_seed(layer))
    additive = torch.zeros(9, 9).masked_fill(~aero.causal_mask(9), -torch.inf)
    with torch.no_grad():
        output, own = module(x, attention_mask=additive)[:2]
        q, k, v = (aero.split_heads(part, 12) for part in aero.split_qkv(module.c_attn(x)))
        weights = aero.attention_weights(aero.raw_scores(q, k), 64)
        by_hand = module.c_proj(aero.merge_heads(weights @ v))
    assert (weights - own).abs().max() < 1e-5
    assert (by_hand - output).abs().max() < 1e-4 * output.abs().max()


def test_real_tokens_are_labelled_readably(shared, recorded):
    tokenizer = GPT2TokenizerFast.from_pretrained(shared)
    for prompt in json.loads((shared / "recorded_prompts.json").read_text(encoding="utf-8")):
        ids, labels = readable_tokens(tokenizer, prompt["prompt"])
        assert ids.tolist() == prompt["token_ids"] and labels == prompt["tokens"]
    _, labels = readable_tokens(tokenizer, "Tiếng Việt đẹp")
    assert labels == ["Ti", "ế₁", "ế₂", "ế₃", "ng", " Vi", "ệ₁", "ệ₂", "ệ₃", "t", " đ₁", "đ₂", "ẹ₁", "ẹ₂", "ẹ₃", "p"]
