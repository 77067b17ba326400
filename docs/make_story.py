"""The README's picture: the whole story in one look, from recorded activations of the real GPT-2 Small.

    python docs/make_story.py FOLDER

FOLDER holds `recorded_scores.npz` (raw_scores_i [12, 12, T, T], before scaling and masking) and
`recorded_prompts.json` (their tokens), as recorded by the Transformer Explainer project
(github.com/poloclub/transformer-explainer, MIT). Three short prompts: the picture says so.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from recordings import read_prompts

import aero_helpers as aero

SOURCE = "GPT-2 Small, 12 × 12 heads; 3 short prompts of 6 tokens, recorded by the Transformer Explainer project (MIT)"


def draw(records):
    tables = pd.concat([aero.shift_table(record) for record in records])
    table = tables.groupby(["layer", "head"], as_index=False).mean()
    fig = plt.figure(figsize=(16.5, 7), layout="constrained")
    ridges, heads, sign, spread = fig.subplot_mosaic("ABC;ABD", width_ratios=(1.2, 1.2, 0.9)).values()
    aero.plots.layer_ridges(records, ax=ridges)
    aero.plots.layer_head_map(table, "share_below_zero", ax=heads)
    aero.plots.against_entropy(table, "share_below_zero", ax=sign)
    aero.plots.against_entropy(table, "row_spread", ax=spread)
    ridges.set_title("Raw scores are shifted below 0 …", pad=32)
    heads.set_title("… in most heads; the last layer goes the other way")
    heads.collections[0].colorbar.set_label("share of scores below 0")
    sign.set_title("More negative: not sparser, " + sign.get_title())
    spread.set_title("More spread: sparser, " + spread.get_title())
    fig.supxlabel(SOURCE, fontsize=11, color="0.35")
    return fig


if __name__ == "__main__":
    aero.plots.use_style()
    aero.set_language("en")
    draw(read_prompts(Path(sys.argv[1]))).savefig(Path(__file__).parent / "story.png")
