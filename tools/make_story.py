"""The README's picture: the whole story in one look.

    python tools/make_story.py FOLDER

FOLDER holds GPT-2 Small's recorded prompts (see recordings.py), for the ridges on the left; all else is drawn from
findings.json, so the picture says what the findings say.
"""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from findings_rows import LENGTHS, WINDOWS
from recordings import read_prompts

import aero_helpers as aero

DOCS = Path(__file__).resolve().parent.parent / "docs"
MODELS = {  # colour, mark, name
    "untrained": (aero.plots.UNTRAINED, "o", "untrained"),
    "mini": (aero.plots.TRAINED, "s", "mini"),
    "recorded": ("black", "D", "GPT-2 Small"),
    "smollm2": ("#CC79A7", "^", "SmolLM2"),
}
SOURCE = "Left: GPT-2 Small, 3 prompts of 6 tokens recorded by Transformer Explainer (MIT). Numbers: docs/findings.md"


def draw_by_length(ax, numbers):
    """Share below 0 against the length (findings 7a)."""
    for model, (colour, mark, name) in MODELS.items():
        known = [(n, numbers[model][f"7a.{n}"]) for n in LENGTHS if numbers[model].get(f"7a.{n}") is not None]
        ax.plot(*zip(*known), color=colour, marker=mark, linewidth=2, markersize=7, label=name)
    ax.set(xscale="log", ylim=(0, 1), xlabel="tokens", ylabel="share of scores below 0")
    ax.set_xticks(LENGTHS, list(map(str, LENGTHS)))
    ax.minorticks_off()
    ax.legend(fontsize=11, loc="lower right", ncols=2)


def draw_parts(ax, numbers):
    """Level, position, content of two models by window (findings 8a)."""
    rows = [(model, n) for model in ("mini", "smollm2") for n in WINDOWS]
    places = np.arange(len(rows)) + 0.6 * (np.arange(len(rows)) >= len(WINDOWS))
    start = np.zeros(len(rows))
    for i, (name, (colour, _, _)) in enumerate(aero.plots.PARTS.items()):
        share = np.array([numbers[model][f"8a.{n}"][i] for model, n in rows])
        ax.barh(places, share, left=start, color=colour, height=0.8, label=name)
        start += share
    ax.set_yticks(places, [f"{MODELS[model][2]}, {n}" for model, n in rows], fontsize=11)
    ax.set(xlim=(0, 1), ylim=(places[-1] + 0.6, -0.6), xlabel="share of the mean square of raw scores")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=11)


def draw_costs(ax, numbers):
    """What each part is worth to the running model, 64 tokens (findings 8d to 8g)."""
    kept = {"8d": "no level", "8e": "position\nalone", "8f": "content\nalone", "8g": "uniform"}
    for i, model in enumerate(("mini", "smollm2")):
        cost = [abs(round(numbers[model][f"{label}.64"], 2)) for label in kept]
        bars = ax.bar(np.arange(4) + 0.4 * i - 0.2, cost, 0.38, color=MODELS[model][0], label=MODELS[model][2])
        ax.bar_label(bars, fmt="%.2f", fontsize=10)
    ax.set_xticks(range(4), list(kept.values()), fontsize=11)
    ax.set_ylabel("change of loss (nats)")
    ax.set_ylim(0, 4.8)
    ax.legend(fontsize=11, loc="upper left")


def draw(records, numbers):
    fig = plt.figure(figsize=(17, 7.6), layout="constrained")
    ridges, length, parts, costs = fig.subplot_mosaic("ABC;ABD", width_ratios=(1.1, 1, 1.25)).values()
    aero.plots.layer_ridges(records, ax=ridges)
    draw_by_length(length, numbers)
    draw_parts(parts, numbers)
    draw_costs(costs, numbers)
    ridges.set_title("GPT-2, 6 tokens: raw scores mostly below 0 …", pad=32)
    length.set_title("… but how many do depends on model and length")
    parts.set_title("A score has three parts; the softmax sees two", pad=30)
    costs.set_title("Without the level nothing changes (64 tokens)")
    fig.supxlabel(SOURCE, fontsize=11, color="0.35")
    return fig


if __name__ == "__main__":
    aero.plots.use_style()
    aero.set_language("en")
    found = json.loads((DOCS / "findings.json").read_text(encoding="utf-8"))
    draw(read_prompts(Path(sys.argv[1])), found).savefig(DOCS / "story.png")
