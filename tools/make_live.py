"""The live page in both languages, with mini and what it needs beside it: build/site.

    python tools/make_live.py

A browser reads modules and the model over HTTP alone: `make live` serves them.
"""

import json
import os
import shutil
from pathlib import Path

import numpy as np
from safetensors.torch import save_file

import aero_helpers as aero
from aero_helpers import webpage
from aero_helpers.mini import FOLDER as MINI
from aero_helpers.plots.densities import RIDGE_REACH, in_own_size

SITE = Path(__file__).resolve().parent.parent / "build" / "site"
MOST_TOKENS, N_TEXTS = 64, 24  # of the position profile; as many texts as in lesson 04b
SCRIPTS = ("gpt2.js", "tokenizer.js", "worker.js", "live.js", "live.css")


# From a file, without a server, a browser runs no module; this says so.
WITHOUT_SERVER = """<script>addEventListener("DOMContentLoaded", () => {
const words = JSON.parse(document.getElementById("words").textContent)[document.documentElement.lang];
if (location.protocol === "file:") document.getElementById("status").textContent = words.needs_server;
})</script>"""


def examples():
    """Sentences to begin with: two of the course's, and texts unlike novels."""
    scenes = [scene.sentences[0] for scene in aero.read_scenes()]
    others = ["1, 2, 3, 4, 5, 6, 7, 8", "Ông già nhìn ra biển, và biển lặng.", "the the the the the the the the"]
    return [scenes[0], scenes[3], *others]


def position_profile(lm):
    """The part of a model's scores that depends on places alone, float32 [layer, head, MOST_TOKENS, MOST_TOKENS]."""
    scenes = aero.read_scenes()
    texts = aero.shuffled_texts(scenes[::2], N_TEXTS)
    return aero.position_profile(lm.record(text, truncate=MOST_TOKENS) for text in texts).numpy().astype(np.float32)


def film():
    """The film of mini's training as the page draws it, heights in 255ths of each frame's highest."""
    history = aero.training_history()
    heights = np.apply_along_axis(lambda counts: in_own_size(history["edges"], counts), -1, history["histogram"])
    heights = np.rint(255 * heights / heights.max(-1, keepdims=True)).astype(int)
    share = history["share_below_zero"].round(4).tolist()
    numbers = {"loss": history["held_out_loss"].round(3).tolist(), "share": share, "heights": heights.tolist()}
    return {"step": history["step"].tolist(), "reach": RIDGE_REACH[1], **numbers}


def build(site=SITE):
    """Write the page's two editions and what both load."""
    (site / "live").mkdir(parents=True, exist_ok=True)
    for name in SCRIPTS:
        shutil.copy(webpage.PAGE / name, site / "live")
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(MINI / name, site / "live")
    trained = aero.load("mini")
    untrained = trained.untrained()
    shutil.copy(MINI / "model.safetensors", site / "live" / "trained.safetensors")
    tensors = {f"transformer.{name}": tensor for name, tensor in untrained.model.transformer.state_dict().items()}
    save_file(tensors, site / "live" / "untrained.safetensors")
    for name, lm in (("trained", trained), ("untrained", untrained)):
        position_profile(lm).tofile(site / "live" / f"{name}-profile.bin")
    (site / "live" / "film.json").write_text(json.dumps(film()), encoding="utf-8")
    model = os.environ.get("AERO_MODEL", "mini")  # the one that `make lesson` runs the notebooks on
    explored = (trained if model == "mini" else aero.load(model)).record(aero.read_scenes()[0].text)
    words = {language: said | {"examples": examples()} for language, said in webpage.read_words().items()}
    style = '<link rel="stylesheet" href="../live/live.css">'
    script = '<script type="module" src="../live/live.js"></script>\n' + WITHOUT_SERVER
    for language in words:
        aero.set_language(language)
        aero.save_page(explored, site / "live" / f"heads.{language}.html")  # as lesson 04 saves it
        (site / language).mkdir(exist_ok=True)
        text = webpage.page(language, words, "live", style, script)
        (site / language / "live.html").write_text(text, encoding="utf-8")
    aero.set_language("both")


if __name__ == "__main__":
    build()
    print(f"{SITE}: written. A server's addresses for it end in /vi/live.html and /en/live.html")
