import json
import shutil
import socket
import time
import unicodedata
from copy import deepcopy

import huggingface_hub
import numpy as np
import pytest
import torch
from conftest import TEXT, randomised
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import (
    AutoTokenizer,
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2Model,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
)

import aero_helpers as aero
from aero_helpers import hub, models


@pytest.fixture
def checkpoint(tmp_path):
    """A copy of the embedded checkpoint that a test may spoil."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(models.MINI_FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """No cached model, and every connection refused."""

    def refuse(*args, **kwargs):
        raise OSError("network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(hub, "cached_folder", lambda: None)
    monkeypatch.delenv("AERO_MODEL", raising=False)


def test_mini_knows_its_own_shape(mini):
    assert (mini.name, mini.n_layers, mini.n_heads, mini.head_size, mini.context) == ("mini", 6, 4, 32, 256)


def test_a_model_is_put_into_evaluation_mode(mini):
    noisy = type(mini.model)(type(mini.model.config)(**{**mini.model.config.to_dict(), "resid_pdrop": 0.5})).train()
    lm = models.LanguageModel("noisy", noisy, mini.tokenizer)
    assert torch.equal(lm.record("a b c").raw_scores, lm.record("a b c").raw_scores)


def test_mini_predicts_english_far_better_than_its_null_model(mini):
    ids = mini.encode("She looked at him for a moment, and then she said that she was very glad to see him.")[0][None]
    with torch.no_grad():
        trained, untrained = (lm.model(ids, labels=ids).loss.item() for lm in (mini, mini.untrained()))
    assert trained < untrained - 3


def test_the_null_model_is_the_same_each_time_and_leaves_random_numbers_alone(mini):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = mini.untrained().record("a b c").raw_scores
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first, mini.untrained().record("a b c").raw_scores)
    assert not torch.equal(first, mini.record("a b c").raw_scores)


def test_auto_takes_mini_without_a_network_and_says_so_in_one_line(no_network, capsys):
    since = time.perf_counter()
    assert aero.load("auto").name == "mini"
    assert time.perf_counter() - since < hub.PATIENCE + 3
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "mini" in said and "không kết nối được" in said and "out of reach" in said


def test_auto_obeys_the_environment(monkeypatch):
    monkeypatch.setenv("AERO_MODEL", "untrained")
    monkeypatch.setattr(models, "_best_within_reach", lambda: models.load("mini"))
    assert aero.load("auto").name == "untrained mini"
    monkeypatch.setenv("AERO_MODEL", str(models.MINI_FOLDER))
    assert aero.load().n_layers == 6
    assert aero.load("untrained").name == "untrained mini"
    monkeypatch.setenv("AERO_MODEL", "auto")
    assert aero.load("auto").name == aero.load("untrained").name.removeprefix("untrained ") == "mini"
    monkeypatch.setenv("AERO_MODEL", "nonsense")
    with pytest.raises(ValueError, match=r"\$AERO_MODEL: expected one of auto, .* got 'nonsense'"):
        aero.load("auto")


def test_gpt2_without_a_network_says_what_to_do(no_network, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match=r'load\("mini"\) needs no network'):
        aero.load("gpt2")


def test_a_folder_is_loaded_and_named_after_itself(checkpoint):
    assert aero.load(checkpoint).name == "checkpoint"


def test_unknown_names_list_the_known_ones():
    with pytest.raises(
        ValueError, match="expected one of auto, gpt2, mini, untrained, smollm2 or a folder, got 'gpt3'"
    ):
        aero.load("gpt3")


def test_a_damaged_embedded_model_is_refused(checkpoint, monkeypatch):
    data = bytearray((checkpoint / "model.safetensors").read_bytes())
    data[-100] ^= 1  # one bit of one weight
    (checkpoint / "model.safetensors").write_bytes(data)
    monkeypatch.setattr(models, "MINI_FOLDER", checkpoint)
    with pytest.raises(ValueError, match=r"model.safetensors: damaged: expected the SHA-256 sum"):
        aero.load("mini")
    (checkpoint / "SHA256SUMS").write_text("")
    with pytest.raises(ValueError, match="expected the SHA-256 sum none given"):
        aero.load("mini")


def test_a_half_downloaded_checkpoint_is_refused(checkpoint):
    data = (checkpoint / "model.safetensors").read_bytes()
    (checkpoint / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="got a damaged or incomplete one"):
        aero.load(checkpoint)


def test_a_checkpoint_without_its_weights_is_refused(checkpoint):
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="got a damaged or incomplete one"):
        aero.load(checkpoint)


def test_a_checkpoint_without_one_tensor_is_refused_and_not_filled_with_noise(checkpoint):
    tensors = load_file(checkpoint / "model.safetensors")
    lost = tensors.pop("transformer.h.3.attn.c_attn.weight")
    assert lost.shape == (128, 384)
    save_file(tensors, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 tensors, transformer\.h\.3\.attn\.c_attn\.weight first"):
        aero.load(checkpoint)


def test_a_checkpoint_without_its_tokenizer_is_refused(checkpoint):
    (checkpoint / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match=r"expected a tokenizer of 256 tokens or more, got one of 1"):
        aero.load(checkpoint)


@pytest.mark.parametrize("content", ["", "{}", "[]", "null"])
@pytest.mark.parametrize("name", ["tokenizer.json", "config.json"])
def test_a_spoilt_file_is_refused(checkpoint, name, content):
    (checkpoint / name).write_text(content)
    with pytest.raises(ValueError, match=r"expected a (whole )?GPT-2 checkpoint"):
        aero.load(checkpoint)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_layer": 5}, r"has, beyond its config.json, 11 tensors, transformer\.h\.5\."),
        ({"n_positions": 300}, r"does not state for 1 tensors, transformer\.wpe\.weight"),
        ({"n_layer": "x"}, "wrong config.json"),
        ({"activation_function": "foo"}, "got a damaged or incomplete one"),
    ],
)
def test_a_config_that_does_not_fit_the_tensors_is_refused(checkpoint, settings, words):
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | settings))
    with pytest.raises(ValueError, match=words):
        aero.load(checkpoint)


def test_a_checkpoint_laid_out_as_the_hubs_gpt2_is_read_whole(checkpoint, mini):
    """The hub's file names tensors without "transformer." and carries the causal masks as tensors."""
    tensors = load_file(checkpoint / "model.safetensors")
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    tensors |= {f"h.{layer}.attn.bias": torch.ones(1, 1, 256, 256).tril() for layer in range(6)}
    save_file(tensors, checkpoint / "model.safetensors", metadata={"format": "pt"})
    assert torch.equal(aero.load(checkpoint).record("the sea").raw_scores, mini.record("the sea").raw_scores)


@pytest.mark.parametrize(
    ("config", "words"),
    [({"model_type": "llama"}, "got model_type 'llama'"), ({}, "got model_type None"), ("{", "unreadable config.json")],
)
def test_a_folder_that_is_no_gpt2_is_refused(checkpoint, config, words):
    (checkpoint / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    with pytest.raises(ValueError, match=words):
        aero.load(checkpoint)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"found no config.json"):
        aero.load(tmp_path)


def test_empty_and_wrong_texts_are_named(mini):
    with pytest.raises(ValueError, match="got an empty text ''"):
        mini.record("")
    with pytest.raises(TypeError, match="expected a string, got NoneType"):
        mini.record(None)
    with pytest.raises(ValueError, match="half of a surrogate pair"):
        mini.record("a\ud83d b")


def test_a_text_beyond_the_context_is_counted_and_can_be_cut(mini):
    text = "the sea " * 200
    with pytest.raises(ValueError, match="expected at most 256 tokens, the context of mini, got 401; truncate=True"):
        mini.record(text)
    first = mini.record("At last, " + text, truncate=True)
    assert first.n_tokens == 256 and first.tokens[:2] == mini.encode("At last,")[1][:2]


def test_a_context_that_the_embeddings_of_positions_do_not_reach_is_refused(mini):
    lm = models.LanguageModel("short", deepcopy(mini.model), mini.tokenizer)
    lm.model.transformer.wpe = torch.nn.Embedding(100, lm.model.config.hidden_size)
    for measure in (lm.record, lm.loss, lambda text: aero.profile(lm, [text])):
        with pytest.raises(ValueError, match="expected as many embeddings of positions as its config states, 256, got"):
            measure("The old man.")


def test_a_text_may_be_cut_to_a_number_of_tokens(mini):
    text = " ".join([TEXT] * 30)
    whole = mini.encode(text, truncate=True)[0]
    assert len(whole) == 256 and torch.equal(mini.encode(text, truncate=40)[0], whole[:40])
    assert torch.allclose(mini.token_losses(text, truncate=40), mini.token_losses(text, truncate=True)[:39], atol=1e-4)
    assert mini.record(TEXT, truncate=5).tokens == mini.record(TEXT).tokens[:5]
    for wrong in (0, -3, 2.5, "9"):
        with pytest.raises(ValueError, match="truncate: expected a whole number of at least 1"):
            mini.encode(TEXT, truncate=wrong)
    with pytest.raises(ValueError, match="truncate: expected at most 256, the context of mini, got 257"):
        mini.encode(TEXT, truncate=257)


# What stands beside a checkpoint, and its tokenizer's file


def write(folder, name, content):
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def with_setting(folder, name, **settings):
    write(folder, name, json.loads((folder / name).read_text(encoding="utf-8")) | settings)


LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:248dfc\nsize 548105171\n"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda folder: write(folder, "model.safetensors", LFS),
            r"model.safetensors: .*git-LFS pointer .*git lfs pull",
        ),
        (lambda folder: write(folder, "tokenizer.json", LFS), r"tokenizer.json: .*git-LFS pointer .*git lfs pull"),
        (lambda folder: write(folder, "adapter_config.json", {"peft_type": "LORA"}), r"adapter .*merge_and_unload"),
        (
            lambda folder: with_setting(folder, "config.json", quantization_config={"bits": 4}),
            r"quantized .*dequantize",
        ),
        (
            lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
            r"got pytorch_model.bin, a pickle, which may run code .*writes the weights as safetensors",
        ),
    ],
)
def test_what_makes_a_checkpoint_another_thing_is_told_apart(checkpoint, spoil, words):
    spoil(checkpoint)
    with pytest.raises(ValueError, match=words):
        aero.load(checkpoint)


def test_buffers_of_older_versions_are_passed_over(checkpoint, mini):
    tensors = load_file(checkpoint / "model.safetensors")
    for layer in range(6):
        for name, buffer in (("bias", torch.ones(1, 1, 256, 256).tril()), ("masked_bias", torch.tensor(-1e4))):
            tensors[f"transformer.h.{layer}.attn.{name}"] = buffer
    save_file(tensors, checkpoint / "model.safetensors", metadata={"format": "pt"})
    assert aero.load(checkpoint).fingerprint == mini.fingerprint


NFC_TEXT = "Tie\u0302\u0301ng Vie\u0323\u0302t, ca\u0301c \u0111a\u0302\u0300u chu\u0301 y\u0301"


@pytest.mark.parametrize("kind", ["WordPiece", "NFC", "as it is"])
def test_a_tokenizers_file_is_read_as_it_stands(checkpoint, kind):
    """Ids as transformers' AutoTokenizer gives them, and as the file says."""
    settings = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    if kind == "NFC":
        settings["normalizer"] = {"type": "NFC"}
    if kind == "WordPiece":
        words = ["[UNK]", "the", "old", "##er", "man", ".", *(f"w{i}" for i in range(400))]
        settings = {
            "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "post_processor": None,
            "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                           "strip_accents": None, "lowercase": True},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 100, "vocab": {word: i for i, word in enumerate(words)}},
        }  # fmt: skip
    write(checkpoint, "tokenizer.json", settings)
    write(checkpoint, "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    lm, as_file = aero.load(checkpoint), Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    for text in ("The older man.", NFC_TEXT, "the  old\n man 🙂", unicodedata.normalize("NFC", NFC_TEXT)):
        ids = lm.encode(text)[0].tolist()
        assert ids == as_file.encode(text).ids == AutoTokenizer.from_pretrained(checkpoint)(text)["input_ids"]
    composed = [lm.encode(unicodedata.normalize(form, NFC_TEXT))[0].tolist() for form in ("NFC", "NFD")]
    assert (composed[0] == composed[1]) == (kind != "as it is")


def test_a_tokenizer_class_that_drops_part_of_the_file_is_refused(checkpoint):
    """transformers builds a GPT-2 tokenizer anew from vocabulary and merges: the normaliser is lost."""
    settings = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    write(checkpoint, "tokenizer.json", settings | {"normalizer": {"type": "NFC"}})
    write(checkpoint, "tokenizer_config.json", {"tokenizer_class": "GPT2Tokenizer"})
    with pytest.raises(ValueError, match=r"cuts as its tokenizer.json does.*reads it as it stands"):
        aero.load(checkpoint)


def test_a_token_added_to_the_tokenizer_alone_harms_only_texts_that_have_it(checkpoint, mini):
    settings = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    new = {"id": 2048, "content": "<|chat|>", "single_word": False, "lstrip": False, "rstrip": False,
           "normalized": False, "special": True}  # fmt: skip
    write(checkpoint, "tokenizer.json", settings | {"added_tokens": [*settings["added_tokens"], new]})
    lm = aero.load(checkpoint)
    assert torch.equal(lm.record(TEXT).raw_scores, mini.record(TEXT).raw_scores)
    for way in (lm.record, lm.loss, lm.queries_and_keys, lambda text: aero.profile(lm, [text])):
        with pytest.raises(ValueError, match=r"expected tokens that .* knows, 0 to 2047, got 2048 .'<.chat.>'"):
            way("Hello <|chat|> there")


def test_a_token_that_ends_a_text_is_itself(checkpoint):
    settings = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    end = settings["added_tokens"][0]
    both = [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": end["content"], "type_id": 0}}]
    special = {end["content"]: {"id": end["content"], "ids": [end["id"]], "tokens": [end["content"]]}}
    closing = {"type": "TemplateProcessing", "single": both, "pair": both, "special_tokens": special}
    write(checkpoint, "tokenizer.json", settings | {"post_processor": closing})
    write(checkpoint, "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    labels = aero.load(checkpoint).encode("The old man.")[1]
    assert labels[-2:] == [".", end["content"]]


def test_a_text_is_read_with_the_positions_of_short_ones_under_longrope(mini):
    """Such a model takes other positions for long texts: a batch, a record's first tokens, would be another model's."""
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"max_position_embeddings": 128, "original_max_position_embeddings": 32}
    rope = {"rope_type": "longrope", "rope_theta": 10000.0}
    rope |= {"short_factor": [1.0] * 8, "long_factor": [8.0] * 8}
    config = Phi3Config(vocab_size=2048, pad_token_id=0, rope_parameters=rope, **sizes)
    lm = models.LanguageModel("phi", randomised(Phi3ForCausalLM(config)), mini.tokenizer)
    long = " ".join(scene.text for scene in aero.read_scenes())
    assert lm.context == 32
    with pytest.raises(ValueError, match="at most 32 tokens, the context of phi"):
        lm.record(long)
    added = aero.profile(lm, [TEXT]) + aero.profile(lm, [long])
    assert np.allclose(aero.profile(lm, [TEXT, long]).numerators, added.numerators, rtol=1e-4)
    record = lm.record(long, truncate=True)
    assert torch.allclose(record.first(15).raw_scores, lm.record(long, truncate=15).raw_scores, atol=1e-4)


def test_what_is_no_language_model_is_refused(mini):
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 2048}
    body = models.LanguageModel("body", GPT2Model(GPT2Config(**sizes)), mini.tokenizer)
    with pytest.raises(ValueError, match="expected a model that predicts tokens, got GPT2Model"):
        body.loss(TEXT)
    assert body.record(TEXT).shape == (2, 2)
    bloom = BloomForCausalLM(BloomConfig(vocab_size=2048, hidden_size=32, n_layer=2, n_head=2))
    with pytest.raises(ValueError, match="expected a decoder whose config states max_position_embeddings"):
        models.LanguageModel("bloom", bloom, mini.tokenizer).record(TEXT)
    with pytest.raises(TypeError, match="model: expected one of transformers' models, got str"):
        models.LanguageModel("x", "gpt2", mini.tokenizer)
    with pytest.raises(TypeError, match="tokenizer: expected the model's tokenizer, got NoneType"):
        models.LanguageModel("x", mini.model, None)
    for text in ([TEXT], None):
        with pytest.raises(TypeError, match="text: expected a string"):
            mini.token_ids(text)
    neo = GPTNeoForCausalLM(GPTNeoConfig(vocab_size=2048, hidden_size=32, num_layers=1, num_heads=2,
                                         attention_types=[[["global"], 1]]))  # fmt: skip
    with pytest.raises(ValueError, match="this one knows no other"):
        models.LanguageModel("neo", neo, mini.tokenizer).record(TEXT)
