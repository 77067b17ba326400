"""The READMEs' picture: the whole story in one look, in each language.

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
from aero_helpers.language import say

DOCS = Path(__file__).resolve().parent.parent / "docs"
MODELS = {  # colour, mark, name
    "untrained": (aero.plots.UNTRAINED, "o", ("chưa huấn luyện", "untrained")),
    "mini": (aero.plots.TRAINED, "s", ("mini", "mini")),
    "recorded": ("black", "D", ("GPT-2 Small", "GPT-2 Small")),
    "smollm2": ("#CC79A7", "^", ("SmolLM2", "SmolLM2")),
}
SOURCE = (
    "Trái: GPT-2 Small, 3 câu, mỗi câu 6 token, do Transformer Explainer ghi lại (MIT). Con số: docs/findings.vi.md",
    "Left: GPT-2 Small, 3 prompts of 6 tokens recorded by Transformer Explainer (MIT). Numbers: docs/findings.md",
)
PARTS = {"level": ("mức", "level"), "position": ("vị trí", "position"), "content": ("nội dung", "content")}


def draw_by_length(ax, numbers):
    """Share below 0 against the length (findings 7a)."""
    for model, (colour, mark, name) in MODELS.items():
        known = [(n, numbers[model][f"7a.{n}"]) for n in LENGTHS if numbers[model].get(f"7a.{n}") is not None]
        ax.plot(*zip(*known), color=colour, marker=mark, linewidth=2, markersize=7, label=say(*name))
    ax.set(
        xscale="log",
        ylim=(0, 1),
        xlabel=say("số token", "tokens"),
        ylabel=say("tỉ lệ điểm dưới 0", "share of scores below 0"),
    )
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
        ax.barh(places, share, left=start, color=colour, height=0.8, label=say(*PARTS[name]))
        start += share
    ax.set_yticks(places, [f"{say(*MODELS[model][2])}, {n}" for model, n in rows], fontsize=11)
    ax.set(
        xlim=(0, 1),
        ylim=(places[-1] + 0.6, -0.6),
        xlabel=say("tỉ phần trong trung bình bình phương của điểm thô", "share of the mean square of raw scores"),
    )
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=11)


def draw_costs(ax, numbers):
    """What each part is worth to the running model, 64 tokens (findings 8d to 8g)."""
    kept = {
        "8d": say("bỏ mức", "no level"),
        "8e": say("chỉ\nvị trí", "position\nalone"),
        "8f": say("chỉ\nnội dung", "content\nalone"),
        "8g": say("chia đều", "uniform"),
    }
    for i, model in enumerate(("mini", "smollm2")):
        cost = [abs(round(numbers[model][f"{label}.64"], 2)) for label in kept]
        bars = ax.bar(np.arange(4) + 0.4 * i - 0.2, cost, 0.38, color=MODELS[model][0], label=say(*MODELS[model][2]))
        ax.bar_label(bars, fmt="%.2f", fontsize=10)
    ax.set_xticks(range(4), list(kept.values()), fontsize=11)
    ax.set_ylabel(say("thay đổi của mất mát (nat)", "change of loss (nats)"))
    ax.set_ylim(0, 4.8)
    ax.legend(fontsize=11, loc="upper left")


def draw(records, numbers):
    fig = plt.figure(figsize=(17, 7.6), layout="constrained")
    ridges, length, parts, costs = fig.subplot_mosaic("ABC;ABD", width_ratios=(1.1, 1, 1.25)).values()
    aero.plots.layer_ridges(records, ax=ridges)
    draw_by_length(length, numbers)
    draw_parts(parts, numbers)
    draw_costs(costs, numbers)
    ridges.set_title(
        say("GPT-2, 6 token: điểm thô phần lớn dưới 0 …", "GPT-2, 6 tokens: raw scores mostly below 0 …"), pad=32
    )
    length.set_title(say("… nhiều hay ít thì tùy mô hình và độ dài", "… but how many do depends on model and length"))
    parts.set_title(
        say("Một điểm có ba phần; softmax thấy hai", "A score has three parts; the softmax sees two"), pad=30
    )
    costs.set_title(say("Bỏ mức đi: không có gì thay đổi (64 token)", "Without the level nothing changes (64 tokens)"))
    fig.supxlabel(say(*SOURCE), fontsize=11, color="0.35")
    return fig


if __name__ == "__main__":
    aero.plots.use_style()
    found = json.loads((DOCS / "findings.json").read_text(encoding="utf-8"))
    for language, name in (("en", "story.png"), ("vi", "story.vi.png")):
        aero.set_language(language)
        draw(read_prompts(Path(sys.argv[1])), found).savefig(DOCS / name)
