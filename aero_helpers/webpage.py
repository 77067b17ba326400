"""Web pages on which heads are looked at and changed: a file for one record, and the face of the live page."""

import base64
import html
import json
import os
import re
import tomllib
from pathlib import Path
from string import Template

import numpy as np

from aero_helpers.attention import causal_mask
from aero_helpers.files import place_for
from aero_helpers.language import say
from aero_helpers.recording import AttentionRecord, require_record

PAGE = Path(__file__).parent / "page"
MOST_TOKENS = 128  # on a map that can still be looked at
COARSEST = 0.01  # a step, over √head_size: a weight is then right to a hundredth of itself
LEVELS = 2**16 - 1  # of a score between a head's lowest and its highest


class SavedPage:
    """A page as a notebook shows it: in a frame of its own, wherever scripts run; no widget is needed."""

    def __init__(self, path, text):
        self.path, self.text = path, text

    def __repr__(self):
        return f"{self.path}: {len(self.text.encode()):,} bytes, opens in any browser"

    def _repr_html_(self):
        title = say("Trang các đầu chú ý", "A page of attention heads")
        style = "width: 100%; height: 44em; border: 1px solid #8a8f98"
        return f'<iframe title="{title}" style="{style}" srcdoc="{html.escape(self.text)}"></iframe>'


def save_page(record: AttentionRecord, path: str | os.PathLike) -> SavedPage:
    """Write one HTML file that shows a record's heads and changes their scores, in both languages.

    It needs no Python, no model and no network: it opens from a mail or a memory stick. Scores are rounded to
    1/65535 of each head's range. 12 × 12 heads of 64 tokens take 0.9 MB. At the end of a notebook's cell the page is
    shown as well, where no widget runs too; a semicolon behind the call keeps it out of the notebook.

    Raises ValueError for more than 128 tokens (`record.first(128)` cuts them) and for scores that reach too far for
    such steps, as those of hidden keys do; FileNotFoundError where the folder does
    not exist, IsADirectoryError for a folder.

    >>> import aero_helpers as aero
    >>> import tempfile
    >>> record = aero.load("mini").record("The old man looked at the sea.")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = aero.save_page(record, f"{folder}/heads.html")
    ...     len(Path(f"{folder}/heads.html").read_text(encoding="utf-8")) < 60_000
    True
    """
    require_record(record)
    path = place_for(path)
    if record.n_tokens > MOST_TOKENS:
        raise ValueError(
            f"record: expected {MOST_TOKENS} tokens at most, got {record.n_tokens}; record.first({MOST_TOKENS}) cuts it"
        )
    script = "\n".join(_without_imports((PAGE / name).read_text(encoding="utf-8")) for name in ("gpt2.js", "live.js"))
    scripts = f'<script id="record" type="application/json">{_json(_held(record))}</script>\n'
    scripts += f'<script type="module">\n{script}</script>'
    style = f"<style>\n{(PAGE / 'live.css').read_text(encoding='utf-8')}</style>"
    said = {
        language: words | {name: text.replace("{name}", record.model_name) for name, text in words["record"].items()}
        for language, words in read_words().items()
    }
    language = "en" if say("vi", "en") == "en" else "vi"  # that it opens in; a link on it switches
    text = page(language, said, "record", style, scripts)
    path.write_text(text, encoding="utf-8")
    return SavedPage(path, text)


def read_words() -> dict[str, dict]:
    """{"vi": {name: text}, "en": …} of the pages, with what a record's page says otherwise under "record"."""
    return tomllib.loads((PAGE / "words.toml").read_text(encoding="utf-8"))


def page(language: str, words: dict[str, dict], kind: str, style: str, scripts: str) -> str:
    """The page in one language; its script finds the other one's words in it. `kind`: "live" or "record"."""
    shown = {name: html.escape(text) for name, text in words[language].items() if isinstance(text, str)}
    way_home = f'<a href="index.html">{shown["home"]}</a> · ' if kind == "live" else ""
    template = Template((PAGE / "page.html").read_text(encoding="utf-8"))
    return template.substitute(shown, way_home=way_home, words=_json(words), kind=kind, style=style, scripts=scripts)


def _held(record):
    """What a page holds of a record: scores of the past, head by head and row by row, as whole numbers of steps."""
    past = (
        record.raw_scores[..., causal_mask(record.n_tokens)]
        .double()
        .numpy()
        .reshape(record.n_layers * record.n_heads, -1)
    )
    low, high = past.min(-1), past.max(-1)
    step = np.where(high > low, (high - low) / LEVELS, 1.0)
    if (step > COARSEST * record.head_size**0.5).any():
        raise ValueError(
            f"record: expected scores that {LEVELS:,} steps can tell apart, got some from {low.min():.3g} to"
            f" {high.max():.3g} in one head: with hidden keys? Save the record without, and hide them on the page"
        )
    numbers = np.rint((past - low[:, None]) / step[:, None]).astype("<u2")
    sizes = {"nLayers": record.n_layers, "nHeads": record.n_heads, "headSize": record.head_size}
    scores = base64.b64encode(numbers.tobytes()).decode()
    return sizes | {"tokens": record.tokens, "low": low.tolist(), "step": step.tolist(), "scores": scores}


def _json(x):
    """JSON that may stand within a page: no text in it ends the script."""
    return json.dumps(x, ensure_ascii=False).replace("<", "\\u003c")


def _without_imports(script):
    """A module as part of a larger one."""
    return re.sub(r"^import .*\n|^export ", "", script, flags=re.MULTILINE)
