import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from scipy.stats import gaussian_kde
from tokenizers import normalizers
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

import aero_helpers as aero
from aero_helpers import corpus, streaming
from aero_helpers.capture import capture
from aero_helpers.models import LanguageModel


@pytest.fixture(scope="module")
def texts():
    scenes = [scene.text for scene in aero.read_scenes()]
    return [*scenes[:10], "A dog ran.", scenes[10] * 6, "The old man", *scenes[11:14]]  # one longer than mini's context


def whole_records(lm, texts):
    """A record of each text, of each window of one that is longer than the context."""
    for text in texts:
        ids = lm.tokenizer(text)["input_ids"]
        for start in range(0, len(ids), lm.context):
            scores, head_size = capture(lm.model, torch.tensor(ids[start : start + lm.context]))
            yield aero.AttentionRecord(["x"] * scores.shape[-1], scores, head_size, lm.name)


def past_scores(records):
    """The causal raw scores of all records: float64 [head of all layers, n]."""
    past = [record.raw_scores[..., aero.causal_mask(record.n_tokens)].flatten(0, 1) for record in records]
    return torch.cat(past, dim=-1).double()


@pytest.fixture(scope="module")
def llama(mini):
    """Grouped queries and rotary positions, small and random."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "max_position_embeddings": 300}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.3}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(mini.tokenizer), **sizes, **heads))
    return LanguageModel("small llama", model, mini.tokenizer)


@pytest.mark.parametrize("name", ["mini", "full_size", "llama"])
def test_every_column_equals_the_whole_matrices(name, texts, request):
    lm = request.getfixturevalue(name)
    table = aero.profile(lm, texts).table()
    records = list(whole_records(lm, texts))
    for column, expected in corpus.plain_statistics(records).items():
        assert np.abs(table[column].to_numpy() - expected).max() < 1e-4 * max(1, np.abs(expected).max()), column
    scores = past_scores(records).numpy()
    assert (table.n_scores == scores.shape[1]).all()
    widths = 2.0 ** aero.profile(lm, texts).exponent.ravel()
    assert (np.abs(table["median"] - np.median(scores, axis=1)) <= widths).all()
    assert (widths * corpus.BINS / 16 <= np.abs(scores).max(axis=1)).all()  # not much wider than they need to be


def test_the_plain_statistics_are_means_over_all_scores_queries_and_weights(mini, texts):
    """Written out once more, from the weights alone: what the definition says, by no function of the package."""
    records = list(whole_records(mini, texts))
    plain = corpus.plain_statistics(records)
    weights = [record.weights().flatten(0, 1).double() for record in records]
    sink = torch.cat([w[:, 1:, 0] for w in weights], dim=1).mean(1)
    assert np.allclose(plain["sink_weight"], sink)
    small = [(w < 0.01).tril()[:, 2:].sum((1, 2)) for w in weights]
    n_weights = sum(len(w[0]) * (len(w[0]) + 1) / 2 - 3 for w in weights)
    assert np.allclose(plain["share_tiny_weights"], sum(small) / n_weights)
    assert np.allclose(plain["mean"], past_scores(records).mean(1))
    assert np.allclose(plain["share_below_zero"], (past_scores(records) < 0).double().mean(1))
    entropy = [
        torch.special.entr(w[:, i, : i + 1]).sum(1) / np.log(i + 1) for w in weights for i in range(2, len(w[0]))
    ]
    assert np.allclose(plain["entropy"], torch.stack(entropy).mean(0))


WORDS = ["the", "old", "man", "sea", "dog", ".", ",", "he", "looked", "at"]


@settings(max_examples=8, deadline=None)
@given(st.lists(st.lists(st.sampled_from(WORDS), min_size=2, max_size=40), min_size=1, max_size=4))
def test_whatever_the_texts_streaming_gives_the_plain_statistics(mini, words):
    texts = [" ".join(text) for text in words]
    table = aero.profile(mini, texts).table()
    with np.errstate(invalid="ignore"):  # two tokens in all: no query from 2 on
        for column, expected in corpus.plain_statistics(whole_records(mini, texts)).items():
            assert np.allclose(table[column], expected, rtol=1e-4, atol=1e-4, equal_nan=True), column


def test_padding_and_batching_leave_no_trace(mini, texts):
    """Texts one by one, never padded, against all together."""
    together = aero.profile(mini, texts)
    alone = sum((aero.profile(mini, [text]) for text in texts[1:]), aero.profile(mini, texts[:1]))
    assert np.array_equal(together.counts, alone.counts) and np.array_equal(together.exponent, alone.exponent)
    assert np.allclose(together.table(), alone.table(), atol=1e-4)
    assert np.abs(together.histogram - alone.histogram).sum() <= 2e-4 * together.histogram.sum()


def test_density_is_scipys(mini, texts):
    found = aero.profile(mini, texts)
    scores = past_scores(whole_records(mini, texts)).numpy()
    for layer, head in ((0, 0), (3, 3), (5, 2)):
        curve = found.density(layer, head)
        exact = gaussian_kde(scores[layer * 4 + head])
        x = curve.x[::50]
        assert np.abs(curve.y[::50] - exact(x)).max() < 1e-3 * curve.y.max()
        assert np.trapezoid(curve.y, curve.x) == pytest.approx(1, abs=1e-6)


def test_intervals_cover_the_truth_over_corpora(mini):
    """Corpora drawn from the scenes with replacement: what the table says of its own uncertainty is so."""
    each = [aero.profile(mini, [scene.text]) for scene in aero.read_scenes()]
    everything = sum(each[1:], each[0]).table()
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(40):
        drawn = [each[i] for i in rng.integers(len(each), size=30)]
        table = sum(drawn[1:], drawn[0]).table()
        for name in ("share_below_zero", "entropy", "row_spread"):
            covered.append((table[f"{name}_low"] <= everything[name]) & (everything[name] <= table[f"{name}_high"]))
    assert 0.9 < np.mean(covered) < 0.99
    assert each[0].table().entropy_low.isna().all()


def test_bad_texts_are_counted_and_harm_nothing(mini, texts):
    clean = aero.profile(mini, texts)
    spoilt = aero.profile(mini, ["", *texts, "a", "half a letter: \ud800"])
    assert spoilt.counts.tolist() == [len(texts), clean.counts[1], 3]
    assert np.allclose(spoilt.table(), clean.table(), atol=1e-6)
    assert "3 texts left out" in repr(spoilt)
    with pytest.raises(TypeError, match="expected strings, got int: 7"):
        aero.profile(mini, ["The dog.", 7])
    with pytest.raises(TypeError, match="got one string; put it into a list"):
        aero.profile(mini, "The dog.")


def test_a_model_that_is_changed_or_attends_otherwise_is_refused(mini):
    with mini.intervene(lambda scores, layer: scores * 0), pytest.raises(ValueError, match=r"one within lm\.intervene"):
        aero.profile(mini, ["The dog ran."])
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "max_position_embeddings": 64}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "sliding_window": 4}
    config = MistralConfig(vocab_size=len(mini.tokenizer), **sizes, **heads)
    window = LanguageModel("window", MistralForCausalLM(config), mini.tokenizer)
    with pytest.raises(ValueError, match="expected a plain causal mask, got a model that masks otherwise"):
        aero.profile(window, ["The old dog ran to the sea."])
    broken = mini.untrained()
    with torch.no_grad():
        broken.model.transformer.h[2].attn.c_attn.bias.fill_(torch.nan)
    with pytest.raises(ValueError, match="layer 2: expected finite queries and keys, got NaN or infinity"):
        aero.profile(broken, ["The dog ran."])


def test_half_precision_is_counted_as_record_counts_it(mini):
    lm = LanguageModel("half", mini.untrained().model.bfloat16(), mini.tokenizer)
    text = "The old man looked at the sea."
    found, expected = aero.profile(lm, [text]).table(), aero.shift_table(lm.record(text))
    assert np.allclose(found["mean"], expected["mean"], atol=0.02 * expected["mean"].abs().max())  # 8 bits


def test_any_iterable_is_taken_and_nothing_at_all_is_refused(mini, texts):
    read_before = iter(texts)
    assert np.array_equal(aero.profile(mini, read_before).numerators, aero.profile(mini, texts).numerators)
    for nothing in ([], read_before):
        with pytest.raises(ValueError, match=r"expected at least one, got none \(or a generator that was read before"):
            aero.profile(mini, nothing)
    left_out = aero.profile(mini, ["", "A"])
    statistics = left_out.table().drop(columns=["layer", "head", "n_scores"])
    assert left_out.counts.tolist() == [0, 0, 2] and statistics.isna().all().all()


def test_the_median_of_few_scores_is_right_to_half_a_bin(mini):
    for text in ("old man", "old man sea", "The old man looked at the sea."):
        found, table = aero.profile(mini, [text]), aero.shift_table(mini.record(text))
        half_a_bin = 2.0 ** found.exponent.ravel() / 2
        assert (abs(found.table()["median"] - table["median"]) <= half_a_bin * 1.001).all()


def test_a_checkpoint_of_another_tokenizer_is_refused(mini, texts, tmp_path):
    aero.profile(mini, texts[:1], checkpoint=tmp_path / "c")
    letters = deepcopy(mini.tokenizer)
    letters.backend_tokenizer.normalizer = normalizers.Lowercase()
    other = LanguageModel(mini.name, mini.model, letters)
    with pytest.raises(ValueError, match="expected a checkpoint of mini on these texts, got one of other texts"):
        aero.profile(other, texts, checkpoint=tmp_path / "c")


def test_progress_shows_texts_tokens_a_second_and_time_left(mini, texts, capfd):
    aero.profile(mini, texts)
    assert re.search(
        rf"mini: 100%.* {len(texts)}/{len(texts)} \[00:\d\d<00:00, .*text/s, [\d,]+ tokens/s\]", capfd.readouterr().err
    )
    aero.profile(mini, iter("The dog ran." for _ in range(3)))  # no length, so no time left
    assert "3text [00:" in capfd.readouterr().err


def test_profiles_of_two_models_do_not_add_up(mini, llama):
    with pytest.raises(
        ValueError, match=r"expected two of one model, got Profile\('mini'.* and Profile\('small llama'"
    ):
        aero.profile(mini, ["The dog ran."]) + aero.profile(llama, ["The dog ran."])


def test_only_heads_that_are_there_have_a_density(mini):
    found = aero.profile(mini, ["The dog ran to the sea."])
    for layer, head, words in ((6, 0, "layer: expected 0 to 5 for mini, got 6"), (0, -1, "head: expected 0 to 3")):
        with pytest.raises(IndexError, match=words):
            found.density(layer, head)
    with pytest.raises(TypeError):
        found + 1


def test_save_and_load_keep_everything(mini, texts, tmp_path):
    found = aero.profile(mini, texts)
    found.save(tmp_path / "profile.safetensors")
    again = aero.Profile.load(tmp_path / "profile.safetensors")
    assert repr(again) == repr(found)
    pd.testing.assert_frame_equal(again.table(), found.table())
    with pytest.raises(FileNotFoundError, match="expected a profile, found no file"):
        aero.Profile.load(tmp_path / "none")
    (tmp_path / "damaged").write_bytes(b"x" * 99)
    with pytest.raises(ValueError, match="damaged or different file"):
        aero.Profile.load(tmp_path / "damaged")
    save_file({"numerators": found.numerators}, tmp_path / "part", metadata={"format": corpus.FORMAT})
    with pytest.raises(ValueError, match="expected a whole profile"):
        aero.Profile.load(tmp_path / "part")
    with pytest.raises(ValueError, match="expected a checkpoint, got a profile that is finished"):
        aero.profile(mini, texts, checkpoint=tmp_path / "profile.safetensors")
    mini.record("The dog ran.").save(tmp_path / "record")
    with pytest.raises(ValueError, match="expected the format 'aero_helpers profile 2', got 'aero_helpers attention"):
        aero.Profile.load(tmp_path / "record")


class Interrupted(Exception):
    pass


def stop_after(texts, n):
    for i, text in enumerate(texts):
        if i == n:
            raise Interrupted
        yield text


def test_an_interrupted_profile_goes_on_to_the_same_numbers(mini, texts, tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "CHUNK", 3)
    path = tmp_path / "checkpoint"
    with pytest.raises(Interrupted):
        aero.profile(mini, stop_after(texts, 11), checkpoint=path)
    assert aero.Profile.load(path).counts[0] == 9
    seen = []
    resumed = aero.profile(mini, (seen.append(text) or text for text in texts), checkpoint=path)
    assert seen == texts
    whole = aero.profile(mini, texts)
    for name in corpus.SUMS:
        assert np.array_equal(getattr(resumed, name), getattr(whole, name)), name
    with pytest.raises(ValueError, match="expected a checkpoint of mini on these texts"):
        aero.profile(mini, reversed(texts), checkpoint=path)


def test_a_killed_process_loses_at_most_a_chunk(mini, texts, tmp_path):
    """kill -9 in the middle, then the same call again."""
    script = textwrap.dedent("""
        import sys, time
        import aero_helpers as aero
        from aero_helpers import corpus, streaming
        corpus.CHUNK = 2
        def slowly(texts):
            for text in texts:
                time.sleep(0.2)
                yield text
        texts = [scene.text for scene in aero.read_scenes()]
        aero.profile(aero.load("mini"), slowly(texts), checkpoint=sys.argv[1])
    """)
    path = tmp_path / "checkpoint"
    process = subprocess.Popen([sys.executable, "-c", script, path], stderr=subprocess.DEVNULL)
    since = time.monotonic()
    done = 0
    while done < 2 and process.poll() is None and time.monotonic() - since < 120:
        time.sleep(0.05)
        done = aero.Profile.load(path).counts[0] if path.exists() else 0
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    scenes = [scene.text for scene in aero.read_scenes()]
    assert 2 <= aero.Profile.load(path).counts[0] < len(scenes)
    resumed = aero.profile(mini, scenes, checkpoint=path)
    assert resumed.counts[0] == len(scenes)
    assert np.allclose(resumed.table(), aero.profile(mini, scenes).table(), atol=1e-4)


def test_counts_are_kept_when_bins_grow_and_bins_fit_the_scores():
    """Bins double their width when a score lies outside; counts are kept."""
    counts = np.arange(2 * corpus.BINS).reshape(2, corpus.BINS)
    wide = streaming.coarser(counts, np.array([0, 3]))
    assert np.array_equal(wide[0], counts[0]) and wide[1].sum() == counts[1].sum()
    middle = corpus.BINS // 2
    assert wide[1, middle] == counts[1, middle : middle + 8].sum()
    for largest in (1e-9, 0.3, 1.0, 2.0**11, 500.0):
        exponent = streaming.exponent_for(np.array([largest]))[0]
        assert max(largest, 1e-6) < 2.0**exponent * corpus.BINS / 2 <= max(largest, 1e-6) * 2.01


KILLED = """
import os, random, signal, sys, threading, time
import numpy as np, torch
from tqdm import tqdm
import aero_helpers as aero
from aero_helpers import corpus, streaming

torch.set_num_threads(1)  # a fork shares no threads
tqdm.set_lock(threading.RLock())  # its own one is shared among forks: a killed one would keep it for ever
tqdm.monitor_interval = 0
corpus.CHUNK = 2
path, lm = sys.argv[1], aero.load("mini")
texts = [scene.text for scene in aero.read_scenes()] * 30
lm.fingerprint, aero.profile(lm, texts[:2])  # before the forks, once
since = time.perf_counter()
aero.profile(lm, texts[:32])
longest = 2 * 0.4 * len(texts) * (time.perf_counter() - since) / 32 / 50  # so that fifty reach not half of the texts
random.seed(1)
kills, killed_at = 0, []
while kills < 50:
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the bar
        aero.profile(lm, texts, checkpoint=path)
        os._exit(0)
    time.sleep(random.uniform(0, longest))
    os.kill(child, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), "finished before it was killed: a longer corpus is needed"
    kills += 1
    killed_at.append(int(aero.Profile.load(path).counts[0]) if os.path.exists(path) else 0)
assert killed_at == sorted(killed_at) and 2 < killed_at[-1] < len(texts), killed_at
resumed, whole = aero.profile(lm, texts, checkpoint=path), aero.profile(lm, texts)
print(len(set(killed_at)), all(np.array_equal(getattr(resumed, x), getattr(whole, x)) for x in corpus.SUMS))
"""


def test_fifty_kills_at_random_moments_change_no_number(tmp_path):
    run = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "checkpoint"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    n_places, equal = run.stdout.split()[-2:]
    assert int(n_places) > 5 and equal == "True"
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".saving-")] == ["checkpoint"]


def test_long_texts_are_saved_before_there_are_many(mini, texts, tmp_path, monkeypatch):
    """Ctrl-C while the fourth of a few long texts is read: three are kept."""
    monkeypatch.setattr(corpus, "CHUNK_TOKENS", 100)
    novels = [" ".join(texts) for _ in range(6)]

    def interrupted():
        yield from novels[:3]
        raise KeyboardInterrupt

    path = tmp_path / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        aero.profile(mini, interrupted(), checkpoint=path)
    assert aero.Profile.load(path).counts[0] == 3
    resumed, whole = aero.profile(mini, novels, checkpoint=path), aero.profile(mini, novels)
    assert all(np.array_equal(getattr(resumed, name), getattr(whole, name)) for name in corpus.SUMS)


@pytest.mark.parametrize(
    ("name", "error"),
    [("nowhere/checkpoint", FileNotFoundError), ("", IsADirectoryError), ("/proc/checkpoint", OSError)],
)
def test_a_checkpoint_that_cannot_be_written_speaks_before_the_first_text(mini, tmp_path, name, error):
    def unread():
        raise AssertionError("a text was read")
        yield

    with pytest.raises(error, match=r"expected an existing folder|got a folder|No such file"):
        aero.profile(mini, unread(), checkpoint=tmp_path / name)


def test_a_checkpoint_of_other_weights_is_refused(mini, texts, tmp_path):
    """Two folders of one name: the shapes and the texts fit, the weights do not."""
    other = LanguageModel("mini", deepcopy(mini.model), mini.tokenizer)
    with torch.no_grad():
        other.model.transformer.h[3].attn.c_attn.bias[5] += 1e-3
    aero.profile(other, texts[:3], checkpoint=tmp_path / "checkpoint")
    with pytest.raises(
        ValueError, match="expected a checkpoint of mini on these texts, got one of other weights: Profile"
    ):
        aero.profile(mini, texts, checkpoint=tmp_path / "checkpoint")
    assert repr(sum([aero.profile(mini, texts[:1])] * 2)) == repr(aero.profile(mini, texts[:1] * 2))
    added = aero.profile(mini, texts[:1]) + replace(aero.profile(mini, texts[:1]), fingerprint="")
    assert added.fingerprint == ""  # unknown, as one of them is


@pytest.mark.parametrize("measure", [aero.profile, aero.intervention_table])
@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (pd.DataFrame({"id": [1], "text": ["The dog."]}), 'take one, as dataframe["text"]'),
        (pd.DataFrame({"line": ["The dog."]}), 'take one, as dataframe["line"]'),
        ({"a": "The dog.", "b": "The cat."}, "got a dict, which gives its keys; take .values()"),
        (b"The dog.", "expected an iterable of strings, got one string; put it into a list"),
        (7, "expected an iterable of strings, got int"),
    ],
)
def test_what_iterates_over_something_else_is_refused(mini, measure, texts, words):
    with pytest.raises(TypeError, match=re.escape(words)):
        measure(mini, texts)


def test_a_column_a_generator_and_an_open_file_are_texts(mini, texts, tmp_path):
    (tmp_path / "texts").write_text("\n".join(texts[:3]), encoding="utf-8")
    column = pd.DataFrame({"text": texts[:3]})["text"]
    wanted = aero.profile(mini, texts[:3]).table()
    with open(tmp_path / "texts", encoding="utf-8") as file:
        lines = (line.rstrip("\n") for line in file)
        assert aero.profile(mini, lines).table().equals(wanted)
    assert aero.profile(mini, column).table().equals(wanted)
    assert aero.profile(mini, column[::-1]).counts.tolist() == aero.profile(mini, texts[:3]).counts.tolist()
