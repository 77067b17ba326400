"""`aero.verify`: right models of many kinds pass, a model broken on purpose fails by the comparison meant for it."""

import copy
import re
from contextlib import nullcontext
from functools import wraps

import pytest
import torch
from tokenizers import normalizers
from transformers import AutoConfig, AutoModelForCausalLM, T5Config, T5ForConditionalGeneration

import aero_helpers as aero
from aero_helpers import capture
from aero_helpers.attention import raw_scores
from aero_helpers.interventions import lift_rows
from aero_helpers.models import LanguageModel
from aero_helpers.verification import comparisons

WIDTH = {"vocab_size": 2048, "hidden_size": 48}
SIZES = WIDTH | {"intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 6}
SIZES |= {"max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
GROUPED = SIZES | {"num_key_value_heads": 2}
GPT2 = {
    "vocab_size": 2048,
    "n_embd": 48,
    "n_layer": 2,
    "n_head": 6,
    "n_positions": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
RIGHT = {
    "gpt2": GPT2,
    "llama": GROUPED,
    "qwen2": GROUPED,
    "qwen3": GROUPED | {"head_dim": 16},
    "mistral": GROUPED,
    "gemma": GROUPED | {"head_dim": 8},
    "phi3": GROUPED,
    "olmo2": GROUPED,
    "stablelm": GROUPED,
    "mixtral": GROUPED | {"num_local_experts": 2},
    "gpt_neox": SIZES,
    "gpt_bigcode": GPT2,
}  # fmt: skip
REFUSED = {
    "gemma2": (GROUPED | {"head_dim": 8}, r"by 'sdpa', torch's own function, got 'eager'|softcap="),  # by version
    "gptj": (GPT2 | {"rotary_dim": 4}, "by 'sdpa', torch's own function, got 'eager'"),
    "opt": (SIZES | {"ffn_dim": 64, "word_embed_proj_dim": 48}, "got a model that scales by 1.0000"),
    "falcon": (
        WIDTH | {"num_hidden_layers": 2, "num_attention_heads": 6, "bos_token_id": 0, "eos_token_id": 0},
        "FalconForCausalLM does not use transformers' attention interface, and can't be told to",
    ),
}  # fmt: skip


def small(kind, mini, **settings):
    """A model of a kind with random weights that are large enough for its heads to tell keys apart."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings))
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.15)
    return LanguageModel(kind, model, mini.tokenizer)


def failed(lm, *text):
    return [comparison.name for comparison in comparisons(lm, *text) if not comparison.passed]


@pytest.fixture
def english():
    aero.set_language("en")
    yield
    aero.set_language("both")


@pytest.mark.parametrize("kind", RIGHT)
def test_models_of_many_kinds_pass(mini, kind):
    lm = small(kind, mini, **RIGHT[kind])
    before = lm.model.config._attn_implementation
    assert failed(lm) == [] and lm.model.config._attn_implementation == before


@pytest.mark.parametrize("kind", REFUSED)
def test_another_kind_of_attention_is_refused_and_why_is_told_once(mini, kind, english, capsys):
    sizes, why = REFUSED[kind]
    assert aero.verify(small(kind, mini, **sizes)) is False
    said = capsys.readouterr().out
    assert (
        len(re.findall(why, said)) == 1 and "– softmax of recorded scores = own weights: could not be compared" in said
    )
    assert "✔ no leak of the future" in said  # which needs no record


def test_a_model_whose_longest_text_is_unknown_is_refused(mini):
    with pytest.raises(ValueError, match="expected a decoder whose config states max_position_embeddings"):
        aero.verify(small("bloom", mini, **WIDTH, n_layer=2, n_head=6))


def test_each_line_has_a_mark_a_figure_and_a_limit(mini, english, capsys):
    assert aero.verify(mini) is True
    *lines, last = capsys.readouterr().out.splitlines()
    assert (
        last == "11 of 11 comparisons held"
        and len(lines) == 11
        and all(line.startswith("✔ ") and any(map(str.isdigit, line)) for line in lines)
    )
    assert lines[4:6] == [
        "✔ every layer is seen: 6 of 6 layers",
        "✔ heads as the config states: 4 query heads, 4 key heads of 32 numbers",
    ]


def test_it_speaks_both_languages(mini, capsys):
    aero.verify(mini)
    both = capsys.readouterr().out
    assert "✔ thấy được mọi tầng: 6 trên 6 tầng\n  ✔ every layer is seen: 6 of 6 layers\n" in both


@pytest.mark.parametrize("text", ["the the the the the the", "Ông già nhìn ra biển 🐟 và biển lặng.", "1, 2, 3, 4, 5"])
def test_other_texts_pass_too(mini, text):
    assert failed(mini, text) == [] and failed(mini.untrained(), text) == []


# ---- a fault each, and the comparison that shows it


def dropout(lm, monkeypatch):
    lm.model = AutoModelForCausalLM.from_config(AutoConfig.for_model("gpt2", **GPT2, attn_pdrop=0.5)).train()


def later_keys(lm, monkeypatch):
    """A head that reads a word ahead of itself."""
    lm.model.transformer.h[0].register_forward_hook(lambda _, inputs, output: output + output.roll(-1, dims=1))


def without(lm, monkeypatch, *arguments):
    """Let the model's forward lose some of its arguments."""
    forward = type(lm.model).forward
    deaf = wraps(forward)(lambda self, **named: forward(self, **{**named, **dict.fromkeys(arguments)}))
    monkeypatch.setattr(type(lm.model), "forward", deaf)


def a_batch_that_mixes(lm, monkeypatch):
    mix = lambda _, inputs, output: output - 0.5 * (output - output.mean(0, keepdim=True))  # noqa: E731
    lm.model.transformer.h[2].register_forward_hook(mix)


def blocks_that_look_ahead(lm, monkeypatch):
    """A leak that does not cross the middle of the text."""

    def mix(_, inputs, output):
        blocks = output.unflatten(1, (-1, 7)) if output.shape[1] % 7 == 0 else output[:, None]
        return (blocks + 0.1 * blocks.mean(2, keepdim=True)).flatten(1, 2)

    lm.model.transformer.h[0].register_forward_hook(mix)


def mask_lost(lm, monkeypatch):
    """The positions too: where they begin anew, transformers takes them for two texts in a row, and masks by itself."""
    without(lm, monkeypatch, "attention_mask", "position_ids")


def positions_lost(lm, monkeypatch):
    without(lm, monkeypatch, "position_ids")


def cache_lost(lm, monkeypatch):
    without(lm, monkeypatch, "past_key_values")


def layer_lost(lm, monkeypatch):
    lm.model.transformer.h = lm.model.transformer.h[:-1]


def more_key_heads_stated(lm, monkeypatch):
    lm.model.config.num_key_value_heads = 8


def wrong_key_heads(lm, monkeypatch):
    monkeypatch.setattr(capture, "raw_scores", lambda queries, keys: raw_scores(queries, keys.roll(1, dims=1)))


def a_change_that_is_lost(lm, monkeypatch):
    monkeypatch.setattr(LanguageModel, "intervene", lambda self, change: nullcontext())


def capitals_lost(lm, monkeypatch):
    lm.tokenizer = copy.deepcopy(lm.tokenizer)
    lm.tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()


def coarse_numbers(lm, monkeypatch):
    lm.model.to(torch.bfloat16)


def a_constant_that_counts(lm, monkeypatch):
    """A softmax with a place for nothing, as GPT-OSS has one: a constant then moves weights between it and the keys."""
    softmax = torch.Tensor.softmax
    with_sink = lambda self, dim: softmax(torch.nn.functional.pad(self, (1, 0)), dim)[..., 1:]  # noqa: E731
    monkeypatch.setattr(torch.Tensor, "softmax", with_sink)


@pytest.mark.parametrize(
    ("fault", "shown"),
    [
        (dropout, ["two_runs"]),
        (later_keys, ["no_leak", "padding", "cache"]),
        (a_batch_that_mixes, ["padding"]),
        (blocks_that_look_ahead, ["no_leak", "cache"]),
        (mask_lost, ["padding"]),
        (positions_lost, ["padding"]),
        (cache_lost, ["cache"]),
        (layer_lost, ["layers", "heads", "own_attention", "constant", "reaches", "number_type"]),
        (more_key_heads_stated, ["heads"]),
        (wrong_key_heads, ["own_attention", "constant"]),
        (a_change_that_is_lost, ["reaches"]),
        (capitals_lost, ["tokens"]),
        (coarse_numbers, ["number_type"]),
        (a_constant_that_counts, ["own_attention", "constant"]),
    ],
)
def test_a_fault_is_shown_by_the_comparison_meant_for_it(lm, monkeypatch, fault, shown):
    fault(lm, monkeypatch)
    assert failed(lm) == shown


@pytest.mark.parametrize("spoilt", [lambda q, k: 0 * raw_scores(q, k), lambda q, k: raw_scores(q, k.roll(1, dims=1))])
def test_coarse_numbers_do_not_hide_a_fault(mini, monkeypatch, spoilt):
    lm = small("llama", mini, **GROUPED | {"num_key_value_heads": 6})
    lm.model.bfloat16()
    assert "own_attention" not in failed(lm) and "no_leak" not in failed(lm)
    hook = lm.model.model.layers[0].register_forward_hook(
        lambda _, inputs, output: output + 0.02 * output.roll(-1, dims=1)
    )
    assert "no_leak" in failed(lm)
    hook.remove()
    monkeypatch.setattr(capture, "raw_scores", spoilt)
    assert "own_attention" in failed(lm)


@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta"])
def test_positions_that_do_not_begin_at_0_pass(mini, kind):
    lm = small(kind, mini, **SIZES, is_decoder=True)
    assert "padding" not in failed(lm)


def test_one_token_repeated_cannot_show_a_change(mini):
    lm = small("llama", mini, **GROUPED)
    text = " the" * 5
    assert len(set(mini.token_ids(text))) == 1
    line = next(each.line for each in comparisons(lm, text) if each.name == "reaches")
    assert line.startswith("–") and "expected different tokens" in line


def test_a_tokenizer_that_knows_no_places_is_refused(lm):
    lm.tokenizer = lambda text, **named: {"input_ids": [1, 2, 3, 4, 5]}
    with pytest.raises(ValueError, match="expected one that says where in the text a token stands, got function"):
        aero.verify(lm)


def test_the_control_is_needed(lm, monkeypatch):
    """A change that is lost passes as "a constant changes nothing": that comparison alone proves nothing."""
    a_change_that_is_lost(lm, monkeypatch)
    assert "constant" not in failed(lm)


# ---- what is refused


def test_what_cannot_be_verified_is_refused(mini):
    with pytest.raises(TypeError, match="lm: expected a LanguageModel"):
        aero.verify(mini.model)
    with pytest.raises(ValueError, match="expected 4 tokens or more, got 1"):
        aero.verify(mini, "The")
    with mini.intervene(lift_rows), pytest.raises(ValueError, match="got one within `intervene`"):
        aero.verify(mini)
    config = T5Config(vocab_size=2048, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    with pytest.raises(ValueError, match="expected a model that predicts the next token, got T5"):
        aero.verify(LanguageModel("t5", T5ForConditionalGeneration(config), mini.tokenizer))


def test_the_model_attends_as_before_even_where_a_comparison_breaks_off(lm, monkeypatch):
    forward = type(lm.model).forward

    @wraps(forward)
    def breaks(self, output_attentions=None, **named):
        if output_attentions:
            raise RuntimeError("no")
        return forward(self, **named)

    monkeypatch.setattr(type(lm.model), "forward", breaks)
    assert failed(lm) == ["own_attention"]
    monkeypatch.undo()
    assert failed(lm) == []
