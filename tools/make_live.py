"""The live page in both languages, with mini and what it needs beside it: build/site.

    python tools/make_live.py

A browser reads modules and the model over HTTP alone: `make live` serves them.
"""

import shutil
from pathlib import Path

import numpy as np

import aero_helpers as aero
from aero_helpers import webpage
from aero_helpers.mini import FOLDER as MINI

SITE = Path(__file__).resolve().parent.parent / "build" / "site"
MOST_TOKENS, N_TEXTS = 64, 24  # of the position profile; as many texts as in lesson 04b
SCRIPTS = ("gpt2.js", "tokenizer.js", "worker.js", "live.js", "live.css")


def examples():
    """Sentences to begin with: two of the course's, and texts unlike novels."""
    scenes = [scene.sentences[0] for scene in aero.read_scenes()]
    others = ["1, 2, 3, 4, 5, 6, 7, 8", "Ông già nhìn ra biển, và biển lặng.", "the the the the the the the the"]
    return [scenes[0], scenes[3], *others]


def position_profile():
    """The part of mini's scores that depends on places alone, float32 [layer, head, MOST_TOKENS, MOST_TOKENS]."""
    lm, scenes = aero.load("mini"), aero.read_scenes()
    texts = aero.shuffled_texts(scenes[::2], N_TEXTS)
    return aero.position_profile(lm.record(text, truncate=MOST_TOKENS) for text in texts).numpy().astype(np.float32)


def build(site=SITE):
    """Write the page's two editions and what both load."""
    (site / "live").mkdir(parents=True, exist_ok=True)
    for name in SCRIPTS:
        shutil.copy(webpage.PAGE / name, site / "live")
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        shutil.copy(MINI / name, site / "live")
    position_profile().tofile(site / "live" / "profile.bin")
    words = {language: said | {"examples": examples()} for language, said in webpage.read_words().items()}
    style = '<link rel="stylesheet" href="../live/live.css">'
    script = '<script type="module" src="../live/live.js"></script>'
    for language in words:
        (site / language).mkdir(exist_ok=True)
        text = webpage.page(language, words, "live", style, script)
        (site / language / "live.html").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    build()
    print(f"{SITE}: written. A server's addresses for it end in /vi/live.html and /en/live.html")
