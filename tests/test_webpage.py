"""Pages that hold a record: what is in them, and what is refused. How they look and work: test_browser_live.py."""

import base64
import html
import json
import re

import numpy as np
import pytest
import torch

import aero_helpers as aero
from aero_helpers import interventions, webpage


def held(path):
    """The record within a page, as JSON reads it."""
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script id="record" type="application/json">(.*?)</script>', text, re.DOTALL)[1])


def test_a_page_holds_the_scores_of_the_past_to_a_step(record, tmp_path):
    aero.save_page(record, tmp_path / "heads.html")
    found = held(tmp_path / "heads.html")
    assert found["tokens"] == record.tokens and (found["nLayers"], found["nHeads"]) == record.shape
    numbers = np.frombuffer(base64.b64decode(found["scores"]), "<u2").reshape(24, -1)
    low, step = (np.array(found[name])[:, None] for name in ("low", "step"))
    past = record.raw_scores.flatten(0, 1)[:, aero.causal_mask(record.n_tokens)].numpy()
    assert (np.abs(low + step * numbers - past) <= 0.51 * step).all() and (step < 0.01).all()


def test_twelve_by_twelve_heads_of_64_tokens_take_under_two_megabytes(tmp_path):
    scores = torch.randn(12, 12, 64, 64, generator=torch.Generator().manual_seed(0)) * 40
    aero.save_page(aero.AttentionRecord([str(i) for i in range(64)], scores, 64, "gpt2"), tmp_path / "heads.html")
    assert (tmp_path / "heads.html").stat().st_size < 2_000_000


def test_a_page_asks_for_nothing_and_no_token_ends_its_script(tmp_path):
    tokens = ["</script><script>", "<!--", "$x$", "\\", "ế₁"]
    record = aero.AttentionRecord(tokens, np.arange(25.0).reshape(1, 1, 5, 5), 4, "a <b> & 'c'")
    aero.save_page(record, tmp_path / "heads.html")
    assert held(tmp_path / "heads.html")["tokens"] == tokens
    text = (tmp_path / "heads.html").read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="(?!data:|\.\./en/)', text) and "a &lt;b&gt; &amp; &#x27;c&#x27;" in text
    assert text.count("<script") == text.count("</script>") == 3


def test_a_notebook_shows_the_page_in_a_frame_in_its_language(record, tmp_path):
    for language, shown in (("vi", "vi"), ("en", "en"), ("both", "vi")):
        aero.set_language(language)
        page = aero.save_page(record, tmp_path / "heads.html")
        text = (tmp_path / "heads.html").read_text(encoding="utf-8")
        frame = re.fullmatch(r'<iframe title=".+" style="[^"]+" srcdoc="([^"]*)"></iframe>', page._repr_html_())
        assert html.unescape(frame[1]) == text and f'<html lang="{shown}">' in text
        assert repr(page) == f"{tmp_path / 'heads.html'}: {len(text.encode()):,} bytes, opens in any browser"


def test_what_a_page_cannot_show_is_refused(mini, record, tmp_path):
    long = mini.record(" ".join(["sea"] * 150))
    with pytest.raises(ValueError, match=r"expected 128 tokens at most, got \d+; record.first\(128\)"):
        aero.save_page(long, tmp_path / "heads.html")
    hidden = interventions.changed_record(record, interventions.hide_key(0))
    with pytest.raises(ValueError, match="with hidden keys"):
        aero.save_page(hidden, tmp_path / "heads.html")
    with pytest.raises(FileNotFoundError, match="expected an existing folder"):
        aero.save_page(record, tmp_path / "nowhere" / "heads.html")
    with pytest.raises(IsADirectoryError):
        aero.save_page(record, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_both_languages_have_the_same_words():
    vi, en = webpage.read_words().values()
    assert list(vi) == list(en) and list(vi["record"]) == list(en["record"])
    for one, other in ((vi, en), (vi["record"], en["record"])):
        for name in one:
            if name != "record":
                assert re.findall(r"\{\w+\}", one[name]) == re.findall(r"\{\w+\}", other[name]) and other[name]
