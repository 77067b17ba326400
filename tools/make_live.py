"""The live page in both languages, with mini and what it needs beside it: build/site.

    python tools/make_live.py

A browser reads modules and the model over HTTP alone: `python -m http.server --directory build/site` serves them.
"""

import html
import json
import shutil
import tomllib
from pathlib import Path
from string import Template

import numpy as np

import aero_helpers as aero
from aero_helpers.mini import FOLDER as MINI

ROOT = Path(__file__).resolve().parent.parent
SOURCE, SITE = ROOT / "docs" / "live", ROOT / "build" / "site"
MOST_TOKENS, N_TEXTS = 64, 24  # of the position profile, as in lesson 04b


def examples():
    """Sentences to begin with: two scenes of the course, and texts unlike novels."""
    scenes = [scene.text for scene in aero.read_scenes()]
    others = ["1, 2, 3, 4, 5, 6, 7, 8", "Ông già nhìn ra biển, và biển lặng.", "the the the the the the the the"]
    return [scenes[0].split(". ")[0] + ".", scenes[3].split(". ")[0] + ".", *others]


def position_profile():
    """The part of mini's scores that depends on places alone, float32 [layer, head, MOST_TOKENS, MOST_TOKENS]."""
    lm, scenes = aero.load("mini"), aero.read_scenes()
    texts = aero.shuffled_texts(scenes[::2], N_TEXTS)
    return aero.position_profile(lm.record(text, truncate=MOST_TOKENS) for text in texts).numpy().astype(np.float32)


def build(site=SITE):
    """Write the page's two editions and what both load."""
    words = tomllib.loads((SOURCE / "words.toml").read_text(encoding="utf-8"))
    page = Template((SOURCE / "page.html").read_text(encoding="utf-8"))
    (site / "live").mkdir(parents=True, exist_ok=True)
    for name in ("gpt2.js", "tokenizer.js", "worker.js", "live.js", "live.css"):
        shutil.copy(SOURCE / name, site / "live")
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        shutil.copy(MINI / name, site / "live")
    position_profile().tofile(site / "live" / "profile.bin")
    for language, said in words.items():
        own = said | {"examples": examples()}
        data = json.dumps(own, ensure_ascii=False).replace("</", "<\\/")
        (site / language).mkdir(exist_ok=True)
        text = page.substitute({name: html.escape(value) for name, value in said.items()} | {"words": data})
        (site / language / "live.html").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    build()
    print(f"{SITE}: written. A server's addresses for it end in /vi/live.html and /en/live.html")
