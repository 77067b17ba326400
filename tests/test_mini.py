"""The embedded model keeps what its card promises, and its training can be interrupted."""

import os
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT

from aero_helpers.mini import report, train, training_history
from aero_helpers.models import MINI_FOLDER
from aero_helpers.shift import shift_table

CARD = (MINI_FOLDER / "README.md").read_text(encoding="utf-8")
PROSE = ("The boy ran down to the river, and his sister ran after him.", "It was late, and the house was very quiet.")


@pytest.fixture(scope="module")
def history():
    return training_history()


def test_the_repository_carries_at_most_8_megabytes_of_it():
    assert sum(path.stat().st_size for path in MINI_FOLDER.iterdir() if path.is_file()) < 8e6


def test_it_beats_its_own_bigram_by_half_a_nat():
    bigram = float(re.search(r"bigram.*\| ([\d.]+) \|", CARD)[1])
    mini = float(re.search(r"\*\*mini\*\* \| \*\*([\d.]+)\*\*", CARD)[1])
    assert mini < bigram - 0.5


def test_it_is_a_language_model(mini):
    """Mean loss on prose of our own, well below the bigram's on novels."""
    losses = []
    for text in PROSE:
        ids = mini.encode(text)[0][None]
        with torch.no_grad():
            losses.append(mini.model(ids, labels=ids).loss.item())
    assert np.mean(losses) < 4.2


def test_history_shows_the_shift_being_born(history):
    shape = (len(history["step"]), 6, 4)
    assert history["step"][0] == 0 and (np.diff(history["step"]) > 0).all()
    assert history["share_below_zero"].shape == history["mean"].shape == shape
    assert history["histogram"].shape == (*shape, len(history["edges"]) - 1)
    assert np.abs(history["share_below_zero"][0] - 0.5).max() < 0.1
    assert np.abs(history["share_below_zero"][-1] - 0.5).max() > 0.2
    assert np.abs(history["mean"][0]).max() < 1 and history["mean"][-1].min() < -10
    assert (history["histogram"].sum(-1) == history["n_scores"]).all()
    assert history["held_out_loss"][-1] < history["held_out_loss"][0] - 3


def test_history_agrees_with_its_own_histograms(history):
    below = history["histogram"][..., history["edges"][1:] <= 1e-9].sum(-1) / history["n_scores"]
    assert np.abs(below - history["share_below_zero"]).max() < 1e-4


@pytest.fixture(scope="module")
def held_out(mini):
    """The token ids of the held-out books, where the corpus is at hand."""
    corpus = Path(os.environ.get("AERO_SHARED", ROOT.parent / "shared")) / "corpus"
    if not corpus.is_dir():
        pytest.skip(f"no corpus at {corpus} (set AERO_SHARED)")
    return train.encode(mini.tokenizer, train.read_corpus(corpus)[1])


def test_the_history_ends_with_the_shipped_weights(history, mini, held_out):
    tables = [shift_table(report.record_ids(mini, ids)) for ids in report.windows_of(held_out, report.HISTORY_WINDOWS)]
    share = np.mean([table.share_below_zero for table in tables], axis=0)
    assert np.abs(share - history["share_below_zero"][-1].ravel()).max() < 1e-3


def test_the_cards_loss_is_the_shipped_weights_loss(mini, held_out, history):
    """On the first 128 windows, as the history has it."""
    on_some = train.held_out_loss(mini.model, held_out, 128)
    mini.model.eval()
    assert on_some == pytest.approx(float(history["held_out_loss"][-1]), abs=1e-3)
    promised = float(re.search(r"\*\*mini\*\* \| \*\*([\d.]+)\*\*", CARD)[1])
    assert abs(on_some - promised) < 0.3  # the card's number is over all windows of both books


def test_bigram_loss_on_a_text_it_can_count():
    train_ids, held_out = torch.tensor([0, 1, 0, 1, 0, 1, 0]), torch.tensor([0, 1, 0])
    single = np.array([5, 4]) / 9
    after_0 = (3 - 0.75) / 3 + 0.75 / 3 * single[1]
    after_1 = (3 - 0.75) / 3 + 0.75 / 3 * single[0]
    expected = -(np.log(after_0) + np.log(after_1)) / 2
    assert report.bigram_loss(train_ids, held_out, 2) == pytest.approx(expected)


def test_snapshots_are_log_spaced_and_keep_both_ends():
    steps = train.snapshot_steps(6000)
    assert steps[0] == 0 and steps[-1] == 6000 and 20 < len(steps) < 40
    assert all(b / a < 1.5 for a, b in pairwise(steps[8:]))


@pytest.fixture
def tiny_corpus(tmp_path, monkeypatch):
    """A run small enough to be made twice: two steps of two short windows."""
    for name in ("a.txt", *train.HELD_OUT):
        (tmp_path / name).write_text("the old man and the sea and the ship\n" * 100, encoding="utf-8")
    for name, value in {
        "CONTEXT": 8,
        "BATCH": 2,
        "LAYERS": 1,
        "HEADS": 2,
        "WIDTH": 8,
        "VOCABULARY": 300,
        "WARM_UP": 1,
    }.items():
        monkeypatch.setattr(train, name, value)
    monkeypatch.setattr(train, "CHECKPOINT_EVERY", 1)
    return tmp_path


def test_an_interrupted_run_goes_on_to_the_same_weights(tiny_corpus, monkeypatch):
    train.train(tiny_corpus, tiny_corpus / "whole", steps=4)

    def stop_at_step_2(step, ids, original=train.batch_at):
        if step == 2:
            raise KeyboardInterrupt
        return original(step, ids)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(train, "batch_at", stop_at_step_2)
        train.train(tiny_corpus, tiny_corpus / "cut", steps=4)
    train.train(tiny_corpus, tiny_corpus / "cut", steps=4)
    files = [tiny_corpus / run / "model" / "model.safetensors" for run in ("whole", "cut")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_folder_without_the_held_out_books_is_refused(tmp_path):
    with pytest.raises(SystemExit, match=r"expected \.txt files, among them"):
        train.read_corpus(tmp_path)


def test_the_card_lists_its_books():
    assert CARD.count("| training |") >= 25 and CARD.count("| held out |") == 2
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")


def test_the_card_says_what_is_measured(shared):
    """The whole card made again, where the novels are at hand: no number of it is written by hand."""
    corpus = shared.parent / "corpus"
    if not corpus.is_dir():
        pytest.skip(f"no novels at {corpus}")
    lm = report.read_folder(report.HERE, "mini")
    tokens = {
        name: train.encode(lm.tokenizer, part) for name, part in zip(("train", "held_out"), train.read_corpus(corpus))
    }
    numbers = report.measured(lm, corpus, tokens, report.head_habits(lm, tokens["held_out"]), training_history())
    for language, name in report.CARDS.items():
        assert (report.HERE / name).read_text(encoding="utf-8") == report.card(numbers, language)


def test_the_cards_two_languages_have_the_same_numbers():
    def numbers(name, point, comma):
        text = (report.HERE / name).read_text(encoding="utf-8").split("\n> ")
        text = text[0] + text[1].split("\n", 1)[1]  # without the sample
        text = text.replace("dưới 0", "below zero").replace(point, "").replace(comma, "")
        return re.findall(r"\d+", text)

    assert numbers("README.md", ".", ",") == numbers("README.vi.md", ".", ",")
