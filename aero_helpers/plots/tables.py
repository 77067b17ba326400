"""Tables as figures and for reading: one dot or cell a head, one row a layer."""

import re
from collections.abc import Iterable
from html import escape

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from pandas.api.types import is_integer_dtype
from pandas.io.formats.style import Styler
from scipy.stats import t as student_t

from aero_helpers.language import say
from aero_helpers.parts import plain_profile, pooled_parts
from aero_helpers.plots.style import DIVERGING, OTHER_KEYS, PARTS, ROW_SPREAD, SEQUENTIAL, TRAINED, UNTRAINED, sheet
from aero_helpers.require import require_heads, require_one_of, require_several, require_table
from aero_helpers.uncertainty import rank_correlation

MOST_LABELS = 16
COLUMN_TITLES = {
    "share_below_zero": ("tỉ lệ điểm dưới 0", "share of scores below 0"),
    "median": ("trung vị của điểm thô q·k", "median raw score q·k"),
    "mean": ("trung bình của điểm thô q·k", "mean raw score q·k"),
    "sink_weight": ("trọng số trung bình trên khóa 0", "mean weight on key 0"),
    "sink_gap": ("độ chênh của khóa 0 (điểm/√d)", "gap of key 0 (scores/√d)"),
    "row_spread": ("độ phân tán theo hàng (điểm/√d)", "row spread (scores/√d)"),
    "entropy": ("entropy (1 = chia đều)", "entropy (1 = uniform)"),
    "share_tiny_weights": ("tỉ lệ trọng số dưới 0,01", "share of weights below 0.01"),
    "norm_w_q": ("chuẩn ‖W_Q‖", "norm ‖W_Q‖"),
    "norm_w_k": ("chuẩn ‖W_K‖", "norm ‖W_K‖"),
    "norm_w_v": ("chuẩn ‖W_V‖", "norm ‖W_V‖"),
    "norm_b_q": ("chuẩn ‖b_Q‖", "norm ‖b_Q‖"),
    "norm_b_k": ("chuẩn ‖b_K‖", "norm ‖b_K‖"),
    "norm_qk": ("chuẩn ‖W_Q W_Kᵀ‖", "norm ‖W_Q W_Kᵀ‖"),
    "norm_ov": ("chuẩn ‖W_V W_O‖", "norm ‖W_V W_O‖"),
    "qk_top_share": ("W_Q W_Kᵀ: Σσ² ở 1/8 σ lớn nhất", "W_Q W_Kᵀ: Σσ² in the top 1/8 σ"),
    "ov_top_share": ("W_V W_O: Σσ² ở 1/8 σ lớn nhất", "W_V W_O: Σσ² in the top 1/8 σ"),
}
SIGNED = ("median", "mean", "sink_gap")
SHARES = ("share_below_zero", "sink_weight", "entropy", "share_tiny_weights", "qk_top_share", "ov_top_share")
LINK_TITLES = {
    "determiner–noun": ("hạn định từ – danh từ", "determiner–noun"),
    "adjective–noun": ("tính từ – danh từ", "adjective–noun"),
    "verb–object": ("động từ – tân ngữ", "verb–object"),
    "pronoun–antecedent": ("đại từ – tiền ngữ", "pronoun–antecedent"),
}


def captioned(table: pd.DataFrame, vi: str, en: str) -> Styler:
    """A table for reading, in the chosen language: caption, readable headings, two decimals. Returns a Styler.

    >>> styled = captioned(pd.DataFrame({"layer": [0], "entropy": [0.5]}), "Một đầu", "One head")
    >>> "One head" in styled.to_html()
    True
    """
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"table: expected a pandas DataFrame, got {type(table).__name__}")
    if any(table.index.names) or not is_integer_dtype(table.index):  # a row's name is half of what it says
        table = table.rename_axis([name or "" for name in table.index.names]).reset_index()
    plain = {"layer": ("tầng", "layer"), "head": ("đầu", "head")}
    titles = plain | COLUMN_TITLES
    shown = table.rename(columns={name: say(*titles[name], between=" /\n") for name in table if name in titles})
    shown = shown.apply(lambda column: column.map(lambda x: _literal(x) if isinstance(x, str) else x))
    styled = (
        shown.style.hide(axis="index")
        .format(precision=2, decimal=say(",", ".", between="")[-1])
        .format_index(_literal, axis="columns")
        .set_caption(_literal(say(vi, en)))
    )
    wrapped = {
        "selector": "th",
        "props": "white-space: pre-wrap; text-align: center; vertical-align: top; max-width: 9em",
    }
    caption = {
        "selector": "caption",
        "props": "font-size: 1.1em; font-weight: bold; text-align: left; white-space: nowrap",
    }
    return styled.set_table_styles([wrapped, caption])


def _literal(text):
    """A text as HTML in which a page with MathJax finds no formula: tokens like "$" stand alone, each in a tag."""
    return re.sub(r"[$\\]", r"<span>\g<0></span>", escape(str(text)))


def layer_head_map(table: pd.DataFrame, column: str = "share_below_zero", ax: Axes | None = None) -> Axes:
    """A column of `shift_table` for every head: layer downwards, head to the right. Returns the Axes."""
    require_one_of("column", column, COLUMN_TITLES)
    require_heads("table", table, (column,))
    grid = table.pivot(index="layer", columns="head", values=column)
    ax = ax or plt.subplots(figsize=(2.4 + 0.5 * grid.shape[1], 1.8 + 0.38 * grid.shape[0]), layout="constrained")[1]
    colours = {"cmap": SEQUENTIAL}
    if column == "share_below_zero":
        colours = {"cmap": DIVERGING, "vmin": 0, "vmax": 1, "center": 0.5}
    elif column in SIGNED:
        reach = grid.abs().max().max()
        colours = {"cmap": DIVERGING.reversed(), "vmin": -reach, "vmax": reach}
    sns.heatmap(grid, ax=ax, linewidths=0.5, **colours)
    ax.set_yticklabels(ax.get_yticklabels(), rotation=0)
    ax.set_title(say(*COLUMN_TITLES[column], between="\n"))
    ax.set(xlabel=say("đầu", "head"), ylabel=say("tầng", "layer"))
    return ax


def laminar_profile(table: pd.DataFrame, columns: str | Iterable[str], null: pd.DataFrame | None = None) -> Figure:
    """How statistics run through the layers: layer downwards, one dot a head. Returns the Figure.

    `table`: one row a (layer, head), of `shift_table`, `matrix_table` or a Profile. The line is the
    mean of a layer's heads, its bar a 95% t interval of that mean: how much the heads differ, not how
    sure each of them is. `null`: the same table of the untrained model, in grey.
    """
    columns = [columns] if isinstance(columns, str) else columns
    require_several("columns", columns, "name")
    columns = list(columns)
    if not columns:
        raise ValueError("columns: expected at least one, got none")
    for column in columns:
        require_one_of("columns", column, COLUMN_TITLES)
    require_heads("table", table, columns)
    first, last = table["layer"].min(), table["layer"].max()
    if null is not None:
        require_heads("null", null, columns)
        if not null["layer"].between(first, last).all():
            raise ValueError(
                f"null: expected the table's layers, {first} to {last}, got {null['layer'].min()} to"
                f" {null['layer'].max()}; expected the untrained model of the same shape"
            )
    n_layers = last - first + 1
    size = (1 + 2.6 * len(columns), 2.2 + 0.34 * n_layers)
    fig, axes = sheet(size, 1, len(columns), sharey=True, squeeze=False)
    for ax, column in zip(axes[0], columns):
        if null is not None:
            _draw_profile(ax, null, column, UNTRAINED, say("chưa huấn luyện", "untrained"))
        _draw_profile(ax, table, column, TRAINED, say("đã huấn luyện", "trained"))
        ax.set(ylim=(last + 0.5, first - 0.5), yticks=range(first, last + 1))
        if column in SHARES:  # a t interval knows no bounds, a share has them
            ax.set_xlim(max(ax.get_xlim()[0], -0.03), min(ax.get_xlim()[1], 1.03))
        ax.set_title(say(*COLUMN_TITLES[column], between="\n"), fontsize=12)
    axes[0, 0].set_ylabel(say("tầng", "layer"))
    if null is not None:
        fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=11)
    return fig


def against_entropy(table: pd.DataFrame, column: str, ax: Axes | None = None) -> Axes:
    """A column of `shift_table` against entropy, one dot a head. Returns the Axes.

    ρ is Spearman's rank correlation over the heads. The heads farthest from the middle are labelled
    "layer.head": all of them where there are few, and no more than MOST_LABELS.
    """
    require_one_of("column", column, COLUMN_TITLES)
    require_heads("table", table, (column, "entropy"))
    ax = ax or plt.subplots(figsize=(5, 4.4), layout="constrained")[1]
    rho = rank_correlation(table, column, "entropy")
    colour = ROW_SPREAD if column == "row_spread" else UNTRAINED
    ax.scatter(table[column], table["entropy"], color=colour, s=34, alpha=0.8, linewidth=0)
    _label_heads(ax, table, column, "entropy")
    ax.set(xlabel=say(*COLUMN_TITLES[column], between="\n"), ylim=(-0.03, 1.03))
    ax.set_ylabel(say(*COLUMN_TITLES["entropy"], between="\n"))
    ax.set_title(f"ρ = {rho:+.2f}".replace("-", "−"))
    return ax


def what_goes_with_sparsity(table: pd.DataFrame) -> Figure:
    """Three answers to "what makes attention sparse": sign, spread, the gap to key 0. Returns the Figure."""
    columns = "share_below_zero", "row_spread", "sink_gap"
    require_heads("table", table, (*columns, "entropy"))
    fig, axes = sheet((11, 4.2), 1, 3, sharey=True)
    for ax, column in zip(axes, columns):
        against_entropy(table, column, ax)
        ax.label_outer()
    fig.suptitle(say("Tính thưa của chú ý gắn với điều gì?", "What goes with sparse attention?"))
    return fig


def score_parts(table: pd.DataFrame, profile: torch.Tensor) -> Figure:
    """What a score is made of, and what its position part looks like. Returns the Figure.

    table: `part_table`'s. Left: for each layer the shares of the mean square, its heads pooled. profile:
    `position_profile`'s. Right: its last row, the score of each key as far as its place decides it, by layer and on
    the mean of the layers; a layer is the mean of its heads.
    """
    require_heads("table", table, (*PARTS, "mean_square"))
    shares, profile = pooled_parts(table, by="layer"), plain_profile(profile)
    if table.loc[table["mean_square"] > 0, list(PARTS)].isna().any(axis=None) or len(shares) != len(profile):
        raise ValueError(
            f"table: expected part_table's of the profile's {len(profile)} layers, got {len(shares)} or NaN"
        )
    fig, (left, right) = sheet((11.5, 1.9 + np.clip(0.3 * len(shares), 2.6, 4.5)), 1, 2)
    ends = np.zeros((2, len(shares)))  # to the left of 0 where a profile explains less than nothing, and to the right
    for name, (colour, vi, en) in PARTS.items():
        share = shares[name].to_numpy()
        left.barh(shares.index, share, left=np.where(share < 0, *ends), color=colour, height=0.82, label=say(vi, en))
        ends += np.minimum(share, 0), np.maximum(share, 0)
    left.set(ylim=(shares.index.max() + 0.6, shares.index.min() - 0.6), xlim=(ends.min(), ends.max()))
    left.set_ylabel(say("tầng", "layer"))
    left.yaxis.set_major_locator(MaxNLocator(12, integer=True))
    left.set_xlabel(say("phần của trung bình bình phương", "share of the mean square"))
    left.set_title(say("Điểm thô gồm những phần nào?", "What is a raw score made of?", "\n"), pad=30)
    left.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=10.5, handlelength=1.2)
    last = profile[..., -1, :].double().mean(1).numpy()  # [layer, key]
    right.plot(last.T, color=PARTS["position"][0], linewidth=1, alpha=0.55)
    right.plot(last.mean(0), color="black", linewidth=2.4)
    right.axhline(0, color="black", linestyle=":", linewidth=1.2)
    right.set(xlabel=say("vị trí của khóa", "position of the key"), ylabel=say("điểm thô trừ mức", "raw score − level"))
    black = say("đen: trung bình\ncác tầng", "black: mean\nof the layers", "\n")
    right.text(0.5, 0.97, black, va="top", ha="center", fontsize=10, transform=right.transAxes)
    right.set_title(say("Phần vị trí của truy vấn cuối", "The last query's position part", "\n"), pad=12)
    return fig


def link_scatter(shares: pd.DataFrame) -> Figure:
    """Attention on grammatical links against what distance alone gives, one dot a head. Returns the Figure.

    `shares`: what `link_shares` returns. Above the line: more than distance explains. The heads
    farthest above it are labelled "layer.head".
    """
    require_heads("shares", shares, ("share", "expected_share"), key=("kind", "layer", "head"))
    fig, axes = sheet((11.5, 4), 1, len(LINK_TITLES), sharey=True)
    for ax, (kind, title) in zip(axes, LINK_TITLES.items()):
        heads = shares[shares["kind"] == kind]
        ax.plot([0, 1], [0, 1], color="black", linestyle=":", linewidth=1.2)
        ax.scatter(heads["expected_share"], heads["share"], color=OTHER_KEYS, s=30, alpha=0.7, linewidth=0)
        above = heads.assign(above=heads["share"] - heads["expected_share"]).nlargest(3, "above")
        for row, offset in zip(above[above["above"] > 0.05].itertuples(), ((6, 4), (-28, 4), (6, -12))):
            place = row.expected_share, row.share
            ax.annotate(f"{row.layer}.{row.head}", place, offset, textcoords="offset points", fontsize=11)
        ax.set(xlim=(-0.1, 1.03), ylim=(-0.03, 1.03))
        ax.set_title(say(*title, between="\n"), fontsize=12)
    axes[0].set_ylabel(say("phần trọng số trên liên kết", "share of weight on the links", between="\n"))
    fig.supxlabel(say("phần trọng số của mức nền theo khoảng cách", "share that distance alone gives"), fontsize=12)
    fig.suptitle(say("Đầu nào vượt mức nền theo khoảng cách?", "Which heads beat distance alone?"))
    return fig


def rival_bars(shares: pd.DataFrame, heads: dict[str, tuple[int, int]]) -> Figure:
    """Does a head look at the right word, or at the nearest of its kind? Returns the Figure.

    `shares`: what `rival_shares` returns. `heads`: {kind: (layer, head)}. A panel a kind, two pairs of bars: the right
    word nearer, the rival nearer.
    """
    if not isinstance(heads, dict) or not heads or not all(np.shape(head) == (2,) for head in heads.values()):
        raise ValueError(f"heads: expected {{kind: (layer, head)}} for at least one kind, got {heads!r:.80}")
    for kind in heads:
        require_one_of("heads", kind, LINK_TITLES)
    require_table("shares", shares, ("kind", "layer", "head", "rival_is_nearer", "own_share", "rival_share"))
    fig, axes = sheet((1.2 + 2.6 * len(heads), 3.9), 1, len(heads), sharey=True)
    for ax, (kind, (layer, head)) in zip(np.atleast_1d(axes), heads.items()):
        of_head = shares[(shares["kind"] == kind) & (shares["layer"] == layer) & (shares["head"] == head)]
        of_head = of_head.sort_values("rival_is_nearer")
        if of_head["rival_is_nearer"].tolist() != [False, True]:
            raise ValueError(f"shares: expected {kind}, head {layer}.{head}, in both orders, got {len(of_head)} rows")
        for column, offset, colour, name in (
            ("own_share", -0.2, TRAINED, say("từ đúng", "right word")),
            ("rival_share", 0.2, UNTRAINED, say("từ cạnh tranh", "rival")),
        ):
            bars = ax.bar(np.arange(2) + offset, of_head[column], 0.38, color=colour, label=name)
            ax.bar_label(bars, fmt="%.2f", fontsize=10)
        nearer = say("từ đúng\ngần hơn", "right word\nnearer", "\n")
        rival_nearer = say("từ cạnh tranh\ngần hơn", "rival\nnearer", "\n")
        ax.set_xticks([0, 1], [nearer, rival_nearer], fontsize=10)
        ax.set(ylim=(0, 1))
        ax.set_title(say(*LINK_TITLES[kind], between="\n") + f"\n{layer}.{head}", fontsize=12)
    np.atleast_1d(axes)[0].set_ylabel(say("phần trọng số", "share of weight", "\n"))
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=11)
    return fig


def _draw_profile(ax, table, column, colour, label):
    ax.scatter(table[column], table["layer"], color=colour, s=42, alpha=0.85, edgecolor="white", zorder=3)
    layers = table.groupby("layer")[column]
    mean, n = layers.mean(), layers.count()
    margin = student_t.ppf(0.975, (n - 1).clip(lower=1)) * layers.std() / np.sqrt(n)  # NaN, no bar, for one head
    ax.errorbar(mean, mean.index, xerr=margin, color=colour, linewidth=2, elinewidth=1.1, capsize=4, label=label)


def _label_heads(ax, table, x, y):
    """Write "layer.head" beside the dots farthest from the middle, where there is room for it."""
    table = table.reset_index(drop=True)
    places = (table[[x, y]] - table[[x, y]].min()) / np.ptp(table[[x, y]].to_numpy(), axis=0)
    farthest = ((places - places.median()) ** 2).sum(axis=1).nlargest(len(table)).index
    labelled: list[int] = []
    for i in farthest:
        apart = [abs(places.loc[i] - places.loc[j]) for j in labelled]
        if len(labelled) < MOST_LABELS and all(dx > 0.12 or dy > 0.06 for dx, dy in map(tuple, apart)):
            labelled.append(i)
    for row in table.loc[labelled].itertuples():
        place = getattr(row, x), getattr(row, y)
        ax.annotate(f"{row.layer}.{row.head}", place, (4, 3), textcoords="offset points", fontsize=9, color="0.3")
