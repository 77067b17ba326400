from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TEXT, randomised
from safetensors.torch import save_file
from transformers import (
    BartConfig,
    BartForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

import aero_helpers as aero
from aero_helpers.capture import capture, queries_and_keys
from aero_helpers.models import LanguageModel
from aero_helpers.recording import FORMAT
from aero_helpers.tokens import readable_tokens


def hooked_scores(lm, text):
    """The lesson's way: a hook on each c_attn, thirds, heads, dot products."""
    caught, handles = {}, []
    for layer, block in enumerate(lm.model.transformer.h):
        keep = lambda module, inputs, output, layer=layer: caught.update({layer: output.detach()[0]})  # noqa: E731
        handles.append(block.attn.c_attn.register_forward_hook(keep))
    with torch.no_grad():
        lm.model(lm.encode(text)[0][None])
    for handle in handles:
        handle.remove()
    q, k, _ = aero.split_qkv(torch.stack([caught[layer] for layer in range(lm.n_layers)]))
    return aero.raw_scores(aero.split_heads(q, lm.n_heads), aero.split_heads(k, lm.n_heads))


def own_weights(model, token_ids):
    """The model's own attention weights, computed by transformers' eager functions."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    with torch.no_grad():
        weights = torch.stack(model(token_ids[None], output_attentions=True).attentions)[:, 0]
    model.set_attn_implementation(before)
    return weights


@pytest.mark.parametrize("name", ["mini", "full_size"])
def test_a_hand_made_hook_gives_the_recorded_scores(name, request):
    lm = request.getfixturevalue(name)
    difference = (hooked_scores(lm, TEXT) - lm.record(TEXT).raw_scores).abs().max()
    assert difference < 1e-5


@pytest.mark.parametrize("name", ["mini", "full_size"])
def test_weights_equal_the_models_own(name, request):
    lm = request.getfixturevalue(name)
    own = own_weights(lm.model, lm.encode(TEXT)[0])
    assert (lm.record(TEXT).weights() - own).abs().max() < 1e-5


@pytest.mark.parametrize(
    "model",
    [
        LlamaForCausalLM(
            LlamaConfig(vocab_size=99, hidden_size=48, intermediate_size=64, num_hidden_layers=2,
                        num_attention_heads=6, num_key_value_heads=2)
        ),
        GPTNeoXForCausalLM(
            GPTNeoXConfig(vocab_size=99, hidden_size=48, intermediate_size=64, num_hidden_layers=2,
                          num_attention_heads=6)
        ),
    ],
    ids=["grouped queries and rotation", "interleaved fused projection"],
)  # fmt: skip
def test_other_architectures_are_the_same_code_path(model):
    ids = torch.arange(12)
    scores, head_size = capture(randomised(model), ids)
    assert (aero.attention_weights(scores, head_size) - own_weights(model, ids)).abs().max() < 1e-5


def test_queries_and_keys_are_what_the_scores_are_made_of(mini):
    q, k = mini.queries_and_keys(TEXT)
    assert q.shape == k.shape == (6, 4, mini.record(TEXT).n_tokens, 32)
    assert (aero.raw_scores(q, k) - mini.record(TEXT).raw_scores).abs().max() < 1e-4
    assert mini.model.config._attn_implementation == "aero"


def test_queries_and_keys_are_those_of_the_changed_model_under_an_intervention(mini):
    with mini.intervene(lambda scores, layer: scores.clamp(min=0)):
        q, k = mini.queries_and_keys(TEXT)
        changed = mini.record(TEXT).raw_scores
    assert (aero.raw_scores(q, k).clamp(min=0) - changed).abs().max() < 1e-3
    assert (q - mini.queries_and_keys(TEXT)[0]).abs().max() > 0.1


def test_recording_leaves_the_model_as_it_was(mini):
    ids = mini.encode(TEXT)[0][None]
    before = mini.model(ids).logits
    mini.record(TEXT)
    assert mini.model.config._attn_implementation == "aero"
    assert torch.equal(mini.model(ids).logits, before)


def test_a_copy_made_while_recording_is_in_force_works_on(mini):
    with mini.intervene(lambda scores, layer: scores * 2):
        copied, null = deepcopy(mini.model), mini.untrained()
    ids = mini.encode(TEXT)[0][None]
    assert (copied(ids).logits - mini.model(ids).logits).abs().max() < 1e-3
    assert null.loss(TEXT) > 6


def test_one_heads_weights_are_those_of_all_heads(record):
    assert torch.equal(record.head_weights(2, 1), record.weights()[2, 1])


def test_a_record_keeps_its_own_numbers():
    scores = np.zeros((1, 1, 2, 2), np.float32)
    record = aero.AttentionRecord(["a", "b"], scores, 8, "m")
    scores[:] = np.nan
    record.head_scores(0, 0).fill_(7)
    assert (record.raw_scores == 0).all()


def test_a_model_with_another_scale_is_refused(mini):
    config = type(mini.model.config)(**{**mini.model.config.to_dict(), "scale_attn_by_inverse_layer_idx": True})
    with pytest.raises(ValueError, match=r"layer 1: expected scores scaled by 1/√32 = 0.1768, got .* 0.0884"):
        capture(type(mini.model)(config).eval(), torch.arange(5))


def test_a_model_with_a_sliding_window_is_refused():
    config = MistralConfig(
        vocab_size=99, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, sliding_window=4,
    )  # fmt: skip
    with pytest.raises(ValueError, match="expected a plain causal mask"):
        capture(MistralForCausalLM(config).eval(), torch.arange(9))


def test_tokens_are_readable_where_a_letter_is_cut_into_bytes(mini):
    ids, labels = readable_tokens(mini.tokenizer, "Việt 🙂")
    assert len(ids) == len(labels)
    assert "ệ₁ệ₂ệ₃" in "".join(labels)
    assert not any("\ufffd" in label for label in labels)
    assert {label.strip("₁₂₃₄₅₆₇₈₉ ") for label in labels} == {"V", "i", "ệ", "t", "", "🙂"}


def test_plain_words_keep_their_spaces(mini):
    _, labels = readable_tokens(mini.tokenizer, TEXT)
    assert "".join(labels) == TEXT


def test_save_and_load_keep_everything(record, tmp_path):
    path = tmp_path / "a record.safetensors"
    record.save(path)
    again = aero.AttentionRecord.load(path)
    assert torch.equal(again.raw_scores, record.raw_scores)
    assert (again.tokens, again.head_size, again.model_name) == (record.tokens, record.head_size, record.model_name)
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_save_keeps_the_older_file(record, tmp_path, monkeypatch):
    path = tmp_path / "record"
    record.save(path)

    def fail_half_way(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("aero_helpers.files.save_file", fail_half_way)
    with pytest.raises(OSError, match="disk full"):
        record.save(path)
    assert aero.AttentionRecord.load(path).n_tokens == record.n_tokens
    assert list(tmp_path.iterdir()) == [path]


def test_saving_through_a_link_keeps_the_link_and_bad_places_are_named(record, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "target")
    record.save(link)
    assert link.is_symlink() and aero.AttentionRecord.load(tmp_path / "target").tokens == record.tokens
    with pytest.raises(IsADirectoryError, match="got a folder"):
        record.save(tmp_path)
    with pytest.raises(FileNotFoundError, match="expected an existing folder"):
        record.save(tmp_path / "no" / "where")


def test_damaged_and_foreign_files_are_refused(record, tmp_path, mini):
    path = tmp_path / "record"
    record.save(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match="damaged or different file"):
        aero.AttentionRecord.load(path)
    with pytest.raises(ValueError, match="expected the format 'aero_helpers attention record 1', got 'pt'"):
        aero.AttentionRecord.load(aero.models.MINI_FOLDER / "model.safetensors")
    with pytest.raises(FileNotFoundError, match="found no file"):
        aero.AttentionRecord.load(tmp_path / "nothing")
    for about, words in (
        ({"format": "other"}, "expected the format"),
        ({"format": FORMAT}, "expected tokens, head size"),
    ):
        save_file({"raw_scores": torch.zeros(1, 1, 1, 1)}, path, metadata=about)
        with pytest.raises(ValueError, match=words):
            aero.AttentionRecord.load(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"raw_scores": np.zeros((2, 3, 4))}, r"expected \[layer, head, T, T\], got \[2, 3, 4\]"),
        ({"raw_scores": np.full((2, 3, 4, 4), np.nan)}, "expected finite numbers"),
        ({"tokens": ["a"]}, r"expected 4 strings, one a key, got 1"),
        ({"head_size": 0}, "head_size"),
        ({"head_size": True}, "head_size"),
        ({"model_name": None}, "model_name: expected a string, got None"),
        ({"raw_scores": np.zeros((2, 3, 4, 4), complex)}, "expected a plain tensor of real numbers"),
    ],
)
def test_records_that_do_not_fit_together_are_refused(change, words):
    whole = {"tokens": list("abcd"), "raw_scores": np.zeros((2, 3, 4, 4)), "head_size": 8, "model_name": "x"}
    aero.AttentionRecord(**whole)
    with pytest.raises(ValueError, match=words):
        aero.AttentionRecord(**(whole | change))


@pytest.mark.parametrize(
    ("layer", "head", "words"), [(6, 0, "layer: expected 0 to 5"), (0, -1, "head: expected 0 to 3"), (True, 0, "layer")]
)
def test_layer_and_head_out_of_range_are_named(record, layer, head, words):
    with pytest.raises(IndexError, match=words):
        record.head_scores(layer, head)


def test_a_model_outside_the_attention_interface_is_named(mini):
    """A model without layers stands for one that never calls the registered function."""
    model = GPT2LMHeadModel(GPT2Config(n_layer=0, n_embd=8, n_head=2, vocab_size=16))
    for call in (capture, queries_and_keys):
        with pytest.raises(ValueError, match="GPT2LMHeadModel does not use transformers' attention interface"):
            call(model, torch.tensor([1, 2]))


def test_the_first_tokens_of_a_record_are_the_record_of_the_first_tokens(mini, record):
    """No token looks ahead, so cutting afterwards and cutting before is the same."""
    short = record.first(7)
    alone = mini.record("".join(record.tokens[:7]))
    assert short.tokens == alone.tokens == record.tokens[:7]
    assert (short.raw_scores - alone.raw_scores).abs().max() < 1e-3
    with pytest.raises(ValueError, match=f"at most {record.n_tokens}, the length of the record, got 500"):
        record.first(500)
    with pytest.raises(ValueError, match="expected a whole number of at least 1, got 0"):
        record.first(0)


def test_a_text_may_stand_at_later_positions(mini, record):
    """Against the model itself, told its positions: and a model of absolute positions scores otherwise there."""
    ids = mini.encode(TEXT)[0][None]
    places = torch.arange(100, 100 + ids.shape[1])[None]
    with torch.no_grad():
        mini.model.set_attn_implementation("eager")
        own = torch.cat(mini.model(ids, position_ids=places, output_attentions=True).attentions)
        mini.model.set_attn_implementation("sdpa")
    moved = mini.record(TEXT, first_position=100)
    assert (moved.weights() - own).abs().max() < 1e-5
    assert (moved.raw_scores - record.raw_scores).abs().max() > 10
    assert torch.equal(mini.record(TEXT, first_position=0).raw_scores, record.raw_scores)


def test_records_of_other_positions_do_not_mix_and_say_where_they_stood(mini, record, tmp_path):
    moved = mini.record(TEXT, first_position=100)
    moved.save(tmp_path / "moved")
    assert aero.AttentionRecord.load(tmp_path / "moved").model_name == "mini (from position 100)"
    with pytest.raises(ValueError, match="of one model"):
        aero.shift_tables([record, moved])


def test_a_model_that_cannot_be_told_positions_is_refused(mini):
    sizes = {
        "d_model": 32,
        "decoder_layers": 2,
        "decoder_attention_heads": 2,
        "encoder_attention_heads": 2,
        "encoder_layers": 2,
        "decoder_ffn_dim": 32,
    }
    bart = BartForCausalLM(BartConfig(vocab_size=2048, max_position_embeddings=64, **sizes))
    lm = LanguageModel("bart", bart, mini.tokenizer)
    assert lm.record(TEXT).n_layers == 2
    with pytest.raises(ValueError, match="first_position: expected 0 for a BartForCausalLM"):
        lm.record(TEXT, first_position=10)


@pytest.mark.parametrize("first", [-1, 250, 1.0, True, "0", None])
def test_positions_beyond_the_context_are_refused(mini, first):
    with pytest.raises(ValueError, match=r"first_position: expected 0 to 2\d\d for \d+ tokens in a context of 256"):
        mini.record(TEXT, first_position=first)


def test_a_saved_file_is_for_whom_the_folder_or_the_older_file_is(record, tmp_path):
    (tmp_path / "usual").touch()
    record.save(tmp_path / "new")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "usual").stat().st_mode
    (tmp_path / "new").chmod(0o640)
    record.save(tmp_path / "new")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640
