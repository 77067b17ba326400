"""Every figure of the course. Each answers one question, which is its title.

Functions take records and tables and return the Axes or Figure. One palette throughout, safe for
colour-blind eyes (Okabe and Ito): key 0 always has its colour, trained and untrained theirs.
"""

import re
import unicodedata
from functools import cache
from html import escape
from numbers import Integral

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from IPython import get_ipython
from IPython.display import display
from matplotlib import font_manager
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.stats import t as student_t

from aero_helpers.arrays import plain_tensor, real_numbers
from aero_helpers.attention import causal_mask
from aero_helpers.kde import Density, density
from aero_helpers.language import say
from aero_helpers.parts import pooled_parts, require_profile
from aero_helpers.recording import AttentionRecord, require_record
from aero_helpers.require import require_heads, require_number, require_one_of, require_several, require_table
from aero_helpers.shift import require_one_model, select_entries
from aero_helpers.uncertainty import rank_correlation

KEY_0 = "#D55E00"
OTHER_KEYS = "#0072B2"
TRAINED = "#009E73"
UNTRAINED = "#7A7A7A"
ROW_SPREAD = "#882255"
PARTS = {  # of a score
    "level": ("#BBBBBB", "mức", "level"),
    "position": ("#E69F00", "vị trí", "position"),
    "content": ("#56B4E9", "nội dung", "content"),
}
LONGEST_LABEL = 16
MOST_LABELS = 16
MOST_TOKENS = 40  # that a map names: of a longer text each second, third, …, and the map grows no more
FONT = "DejaVu Sans"  # comes with matplotlib; has Vietnamese and small digits, which not every "Arial" has
DIVERGING = sns.color_palette("vlag_r", as_cmap=True)  # blue: mostly below zero, red: mostly above
SEQUENTIAL = sns.color_palette("rocket_r", as_cmap=True)

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

MAP_TITLES = {"weights": ("trọng số chú ý", "attention weight"), "scores": ("điểm thô q·k", "raw score q·k")}
SIGNED = ("median", "mean", "sink_gap")
SHARES = ("share_below_zero", "sink_weight", "entropy", "share_tiny_weights", "qk_top_share", "ov_top_share")
LINK_TITLES = {
    "determiner–noun": ("hạn định từ – danh từ", "determiner–noun"),
    "adjective–noun": ("tính từ – danh từ", "adjective–noun"),
    "verb–object": ("động từ – tân ngữ", "verb–object"),
    "pronoun–antecedent": ("đại từ – tiền ngữ", "pronoun–antecedent"),
}


class Sheet(Figure):
    """A figure that a notebook shows once, be it the last value of a cell, followed by `;`, or in the cell's middle.

    Jupyter shows each open figure at a cell's end, and the cell's last value as well.
    """

    def _ipython_display_(self):
        plt.close(self)
        formatters = get_ipython().display_formatter.formatters
        shown = {mime: formatter(self) for mime, formatter in formatters.items()}
        display({mime: data for mime, data in shown.items() if data is not None}, raw=True)


def use_style():
    """Draw from now on in the course's style: large type, light background, figures of 110 dpi."""
    sns.set_theme("notebook", "ticks", font=FONT, font_scale=1.05)
    plt.rcParams.update({"figure.dpi": 110, "savefig.dpi": 110, "axes.titlesize": 13})
    plt.rcParams.update(
        {"patch.force_edgecolor": False, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
    )


def attention_map(matrix, tokens, kind="weights", title=None, ax=None):
    """One head as a heatmap, [query, key] with tokens on both axes. Returns the Axes.

    kind: "weights" (0 to 1) or "scores" (raw, colours centred on 0). The future is left blank.
    """
    matrix = plain_tensor(matrix, "matrix").double().numpy()
    require_one_of("kind", kind, ("weights", "scores"))
    tokens = _tokens(tokens)
    if matrix.shape != (len(tokens), len(tokens)):
        raise ValueError(f"matrix: expected [{len(tokens)}, {len(tokens)}], one a token, got {list(matrix.shape)}")
    side = max(2.6, 0.36 * min(len(tokens), MOST_TOKENS))
    ax = ax or plt.subplots(figsize=(2.6 + side, 1.6 + side), layout="constrained")[1]
    _draw_map(ax, matrix, kind, _reach(matrix))
    _add_colorbar(ax.figure, ax, ax, kind)
    _label_tokens(ax, tokens)
    ax.set(xlabel=say("khóa", "key") + _which_are_named(tokens, "\n"), ylabel=say("truy vấn", "query"))
    ax.set_title(title or "", parse_math=False)
    return ax


def head_maps(record, layer, kind="weights"):
    """All heads of a layer side by side, tokens on the axes. Returns the Figure.

    Of a text longer than MOST_TOKENS each second, third, … token is named, and a line says so.
    """
    require_record(record)
    record.head_scores(layer, 0)  # refuses a layer that is not there
    require_one_of("kind", kind, ("weights", "scores"))
    columns = min(4, record.n_heads)
    rows = -(-record.n_heads // columns)
    side = 0.7 + 0.2 * min(record.n_tokens, MOST_TOKENS)
    fig, axes = _sheet((columns * side + 1, rows * side + 0.8), rows, columns, squeeze=False)
    matrices = (record.weights() if kind == "weights" else record.raw_scores)[layer].numpy()
    for head, ax in enumerate(axes.flat):
        ax.set_visible(head < record.n_heads)
        if head < record.n_heads:
            _draw_map(ax, matrices[head], kind, _reach(matrices))
            _label_tokens(ax, record.tokens, size=8, left=head % columns == 0, below=head >= record.n_heads - columns)
            ax.set_title(say(f"đầu {layer}.{head}", f"head {layer}.{head}"), fontsize=11)
    _add_colorbar(fig, axes.flat[0], axes, kind)
    if words := _which_are_named(record.tokens):
        fig.supxlabel(words, fontsize=11)
    return fig


def head_view(record, layer, head, query, kind="weights", with_key_0=True):
    """One head and one row of it: the map, the row's scores and their softmax, the head's density. Returns the Figure.

    kind: "weights" or "scores", what the map shows. `with_key_0` false leaves key 0 out everywhere, of
    the softmax too, so that the other keys share its weight. Scores are raw. Made to be drawn fast: the
    explorer draws it at each move of a slider.

    Raises TypeError for anything but a record, IndexError for a layer, head or query that is not there,
    ValueError for a text under 3 tokens.
    """
    require_record(record)
    scores = record.head_scores(layer, head)
    require_one_of("kind", kind, ("weights", "scores"))
    if record.n_tokens < 3:
        raise ValueError(f"record: expected a text of 3 tokens or more, got {record.n_tokens}")
    if isinstance(query, bool) or not isinstance(query, Integral) or not 0 <= query < record.n_tokens:
        raise IndexError(f"query: expected 0 to {record.n_tokens - 1}, got {query!r}")
    shown = select_entries(record.n_tokens, "causal" if with_key_0 else "without_key_0")
    logits = (scores / record.head_size**0.5).masked_fill(~shown, -torch.inf)
    weights = logits.softmax(dim=-1).nan_to_num(0).numpy()  # row 0 has nothing left without key 0
    scores, shown = scores.numpy(), shown.numpy()
    fig = plt.figure(
        figsize=(11.5, 4.6), FigureClass=Sheet
    )  # places given by hand: an automatic layout takes longer than the drawing
    _draw_head(fig, weights if kind == "weights" else scores, shown, query, kind)
    above, below = fig.add_axes((0.47, 0.56, 0.33, 0.25)), fig.add_axes((0.47, 0.13, 0.33, 0.3))
    _draw_row(above, scores[query], shown[query])
    _draw_row(below, weights[query], shown[query])
    _name_strongest(below, weights[query], record.tokens)
    above.axhline(0, color="black", linestyle=":", linewidth=1.2)
    row = say(f"hàng {query}", f"row {query}") + f" ({_label(record.tokens[query])}): "
    above.set_title(row + say("điểm thô", "raw scores"), fontsize=12, parse_math=False)
    below.set_title(say("trọng số", "weights"), fontsize=12)
    above.set(xticklabels=[])
    below.set(ylim=(0, 1.2), yticks=(0, 0.5, 1), xlabel=say("khóa", "key"))
    _draw_density(fig.add_axes((0.84, 0.13, 0.145, 0.68)), scores[shown])
    title = f"{_drawable(record.model_name)}: " + say(f"tầng {layer}, đầu {head}", f"layer {layer}, head {head}")
    fig.suptitle(title, y=0.985, fontsize=13, parse_math=False)
    return fig


def _draw_head(fig, matrix, shown, query, kind):
    ax = fig.add_axes((0.06, 0.13, 0.285, 0.68))
    colours = _map_colours(kind, np.abs(matrix[shown]).max() or 1.0)
    image = ax.imshow(np.where(shown, matrix, np.nan), interpolation="nearest", aspect="auto", **colours)
    ax.plot(query + 1 + 0.03 * len(matrix), query, "<", color="black", markersize=9, clip_on=False)
    ax.set(xlabel=say("khóa", "key"), ylabel=say("truy vấn", "query"), xlim=(-0.5, len(matrix) - 0.5))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set_title(say(*MAP_TITLES[kind]), fontsize=12)
    fig.colorbar(image, cax=fig.add_axes((0.365, 0.13, 0.012, 0.68))).outline.set_visible(False)


def _draw_row(ax, row, shown):
    keys = np.flatnonzero(shown)
    colours = np.where(keys == 0, KEY_0, OTHER_KEYS)
    ax.vlines(keys, 0, row[keys], colors=colours, linewidth=max(1.2, 180 / len(row) / 2))
    ax.set_xlim(-0.8, len(row) - 0.2)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _name_strongest(ax, weights, tokens):
    """Write the token of each of the three largest weights above it, where these stand apart."""
    named = []
    for key in np.argsort(-weights)[:3]:
        if weights[key] > 0.05 and all(abs(key - other) > 0.09 * len(weights) for other in named):
            ax.text(key, weights[key] + 0.03, _label(tokens[key]), ha="center", fontsize=10, parse_math=False)
            named.append(key)


def _draw_density(ax, values):
    if np.ptp(values):
        x, y, _ = density(values)
        ax.fill_between(x, y, color=OTHER_KEYS, alpha=0.35, linewidth=0)
        ax.plot(x, y, color=OTHER_KEYS, linewidth=1.8)
    else:  # all scores the same: their density has no width
        ax.axvline(values[0], color=OTHER_KEYS, linewidth=1.8)
    ax.axvline(0, color="black", linestyle=":", linewidth=1.2)
    ax.set(yticks=[], ylim=(0, None), xlabel=say("điểm thô", "raw score"))
    below = f"{(values < 0).mean():.0%}"
    ax.set_title(say(f"{below} dưới 0", f"{below} below 0", between="\n"), fontsize=12)
    ax.spines["left"].set_visible(False)


def bandwidth_view(values, bandwidth):
    """A histogram of the values and their density for one bandwidth; three rules' choices below. Returns the Figure."""
    chosen = density(values, bandwidth)
    values = real_numbers(values)
    fig, ax = _sheet((8.5, 4))
    ax.hist(values, bins=min(120, 10 + len(values) // 4), density=True, color="#DDDDDD")
    ax.plot(chosen.x, chosen.y, color=OTHER_KEYS, linewidth=2.2)
    low, high = values.min(), values.max()
    margin = 0.15 * (high - low)
    ax.set(xlim=(low - margin, high + margin), ylim=(0, None), ylabel=say("mật độ", "density"))
    rules = "   ".join(f"{rule} {_chosen_by(rule, values)}" for rule in ("scott", "silverman", "isj"))
    ax.set_xlabel(say("giá trị", "value") + f"\n(h: {rules})")
    ax.set_title(say("độ rộng nhân", "bandwidth") + f" h = {chosen.bandwidth:.3g}")
    return fig


def _chosen_by(rule, values):
    try:
        return f"{density(values, rule).bandwidth:.3g}"
    except ValueError:  # isj finds none for some data
        return "–"


def captioned(table, vi, en):
    """A table for reading, in the chosen language: caption, readable headings, two decimals. Returns a Styler."""
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"table: expected a pandas DataFrame, got {type(table).__name__}")
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


def layer_head_map(table, column="share_below_zero", ax=None):
    """A column of `shift_table` for every head: layer downwards, head to the right. Returns the Axes."""
    require_one_of("column", column, COLUMN_TITLES)
    require_heads("table", table, ("head", column))
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


def laminar_profile(table, columns, null=None):
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
    for name, each in {"table": table, "null": table if null is None else null}.items():
        require_heads(name, each, ())
        for column in columns:
            require_one_of("columns", column, [known for known in COLUMN_TITLES if known in each])
        require_table(name, each, columns)
    first, last = table["layer"].min(), table["layer"].max()
    n_layers = last - first + 1
    size = (1 + 2.6 * len(columns), 2.2 + 0.34 * n_layers)
    fig, axes = _sheet(size, 1, len(columns), sharey=True, squeeze=False)
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


def density_map(curves, low, high, xlabel, ax=None):
    """The densities of all layers as a heatmap: layer downwards, value to the right. Returns the Axes.

    `curves`: for each layer the Density of each of its heads; shown is their mean, from low to high.
    Colours are logarithmic over three decades below the highest peak: density spans many.
    """
    require_number("low", low)
    require_number("high", high)
    require_several("curves", curves, "list of Density")
    if not all(
        isinstance(heads, (list, tuple)) and heads and all(isinstance(head, Density) for head in heads)
        for heads in curves
    ):
        raise ValueError("curves: expected for each layer a list of what density returns, one a head")
    if not low < high:
        raise ValueError(f"low and high: expected low < high, got {low} and {high}")
    x = (np.arange(400) + 0.5) / 400 * (high - low) + low
    rows = [np.mean([np.interp(x, *head[:2], left=0, right=0) for head in heads], axis=0) for heads in curves]
    rows = np.array(rows)
    if not rows.size or not rows.max() > 0:
        raise ValueError(f"curves: expected densities that lie between {low:g} and {high:g}, got none")
    ax = ax or plt.subplots(figsize=(8.5, 1.9 + 0.34 * len(rows)), layout="constrained")[1]
    colours = LogNorm(rows.max() / 1000, rows.max(), clip=True)
    reach = (low, high, len(rows) - 0.5, -0.5)
    image = ax.imshow(rows, cmap=SEQUENTIAL, norm=colours, extent=reach, aspect="auto", interpolation="nearest")
    bar = ax.figure.colorbar(image, ax=ax, label=say("mật độ", "density"))
    bar.outline.set_visible(False)
    ax.set(yticks=range(len(rows)), ylabel=say("tầng", "layer"), xlabel=xlabel)
    return ax


def score_densities(trained, untrained, entries="causal"):
    """Density of the raw scores of all heads, untrained beside trained. Returns the Figure.

    Each has its own horizontal scale, centred on 0: an untrained model's scores are far smaller.
    """
    for record in (untrained, trained):
        require_record(record)
    fig, axes = _sheet((10, 3.8), 1, 2)
    for ax, record, colour in zip(axes, (untrained, trained), (UNTRAINED, TRAINED)):
        scores = record.raw_scores[..., select_entries(record.n_tokens, entries)].numpy().ravel()
        x, y, _ = density(scores)
        ax.fill_between(x, y, color=colour, alpha=0.35, linewidth=0)
        ax.plot(x, y, color=colour, linewidth=2)
        ax.axvline(0, color="black", linestyle=":", linewidth=1.4)
        reach = 1.1 * np.abs(np.quantile(scores, [0.002, 0.998])).max()
        ax.set(xlim=(-reach, reach), ylim=(0, None), yticks=[], xlabel=say("điểm thô q·k", "raw score q·k"))
        below = f"{(scores < 0).mean():.0%}"
        ax.set_title(f"{_drawable(record.model_name)}: " + say(f"{below} dưới 0", f"{below} below 0"), parse_math=False)
        sns.despine(ax=ax, left=True)
    axes[0].set_ylabel(say("mật độ", "density"))
    return fig


def layer_ridges(records, ax=None):
    """Density of the raw scores by layer, key 0 apart from all other keys. Returns the Axes.

    `records`: one record, or several of one model, whose scores are pooled. A curve is the mean of
    the densities of the layer's heads, each with its own bandwidth (Scott's rule), drawn from the
    lowest to the highest score and to its own height: compare where they lie, not how high.
    """
    records = [records] if isinstance(records, AttentionRecord) else records
    require_several("records", records, "AttentionRecord")
    records = list(records)
    require_one_model(records)
    if min((record.n_tokens for record in records), default=0) < 3:
        raise ValueError(f"records: expected records of one model, of 3 tokens or more, got {records}")
    n_layers = records[0].n_layers
    ax = ax or plt.subplots(figsize=(7.5, 1.4 + 0.5 * n_layers), layout="constrained")[1]
    for layer in range(n_layers):
        for entries, colour in (("without_key_0", OTHER_KEYS), ("key_0", KEY_0)):
            x, y = _mean_density(_pooled(records, layer, entries))
            height = layer - 0.85 * y / y.max()
            ax.fill_between(x, layer, height, color=colour, alpha=0.25, linewidth=0)
            ax.plot(x, height, color=colour, linewidth=1.6, label=_key_label(entries) if layer == 0 else None)
    ax.axvline(0, color="black", linestyle=":", linewidth=1.2)
    everything = np.concatenate([_pooled(records, layer, "causal").ravel() for layer in range(n_layers)])
    low, high = np.quantile(everything, [0.001, 0.999])
    margin = 0.05 * (high - low)
    ax.set(xlim=(low - margin, high + margin), ylim=(n_layers - 0.7, -1), yticks=range(n_layers))
    ax.set(xlabel=say("điểm thô q·k", "raw score q·k"), ylabel=say("tầng", "layer"))
    ax.set_title(say("Điểm của các khóa nằm ở đâu?", "Where do the keys' scores lie?"), pad=32)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=11)
    return ax


def against_entropy(table, column, ax=None):
    """A column of `shift_table` against entropy, one dot a head. Returns the Axes.

    ρ is Spearman's rank correlation over the heads. The heads farthest from the middle are labelled
    "layer.head": all of them where there are few, and no more than MOST_LABELS.
    """
    require_one_of("column", column, COLUMN_TITLES)
    require_heads("table", table, ("head", column, "entropy"))
    ax = ax or plt.subplots(figsize=(5, 4.4), layout="constrained")[1]
    rho = rank_correlation(table, column, "entropy")
    colour = ROW_SPREAD if column == "row_spread" else UNTRAINED
    ax.scatter(table[column], table["entropy"], color=colour, s=34, alpha=0.8, linewidth=0)
    _label_heads(ax, table, column, "entropy")
    ax.set(xlabel=say(*COLUMN_TITLES[column], between="\n"), ylim=(-0.03, 1.03))
    ax.set_ylabel(say(*COLUMN_TITLES["entropy"], between="\n"))
    ax.set_title(f"ρ = {rho:+.2f}".replace("-", "−"))
    return ax


def what_goes_with_sparsity(table):
    """Three answers to "what makes attention sparse": sign, spread, the gap to key 0. Returns the Figure."""
    columns = "share_below_zero", "row_spread", "sink_gap"
    require_heads("table", table, ("head", *columns, "entropy"))
    fig, axes = _sheet((11, 4.2), 1, 3, sharey=True)
    for ax, column in zip(axes, columns):
        against_entropy(table, column, ax)
        ax.label_outer()
    fig.suptitle(say("Tính thưa của chú ý gắn với điều gì?", "What goes with sparse attention?"))
    return fig


def score_parts(table, profile):
    """What a score is made of, and what its position part looks like. Returns the Figure.

    table: `part_table`'s. Left: for each layer the shares of the mean square, its heads pooled. profile:
    `position_profile`'s. Right: its last row, the score of each key as far as its place decides it, by layer and on
    the mean of the layers; a layer is the mean of its heads.
    """
    require_table("table", table, ("layer", *PARTS, "mean_square"))
    shares, profile = pooled_parts(table, by="layer"), require_profile(profile)
    if table.loc[table["mean_square"] > 0, list(PARTS)].isna().any(axis=None) or len(shares) != len(profile):
        raise ValueError(
            f"table: expected part_table's of the profile's {len(profile)} layers, got {len(shares)} or NaN"
        )
    fig, (left, right) = _sheet((11.5, 1.9 + np.clip(0.3 * len(shares), 2.6, 4.5)), 1, 2)
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


FILM_STEPS = (0, 10, 32, 100, 316, 1000, 3162, 6000)
RIDGE_REACH = (-3, 3)


def training_stills(history):
    """The raw scores of each layer while mini learns, one ridge a step: the film as one still. Returns the Figure.

    `history`: `aero.training_history()`. Scores grow a hundredfold, so each ridge is drawn in units
    of its own size (see `_score_ridge`), and the share below 0 stands beside it.
    """
    _require_history(history)
    steps = [np.abs(history["step"] - step).argmin() for step in FILM_STEPS]
    n_layers = history["histogram"].shape[1]
    fig, axes = _sheet((9.5, 6.4), 2, -(-n_layers // 2), sharex=True, sharey=True)
    for layer, ax in zip(range(n_layers), axes.flat):
        for row, step in enumerate(steps):
            _score_ridge(ax, history, step, layer, row)
        ax.set_yticks(range(len(steps)), [str(history["step"][step]) for step in steps])
        ax.set_title(say(f"tầng {layer}", f"layer {layer}"), fontsize=12)
    _finish_ridges(fig, axes, len(steps))
    fig.supylabel(say("bước huấn luyện", "training step"), fontsize=12)
    title = "Độ dịch xuất hiện lúc nào? (%: tỉ lệ dưới 0)", "When does the shift appear? (%: share below 0)"
    fig.suptitle(say(*title, between="\n"))
    return fig


def training_frame(history, step):
    """One frame of that film: the raw scores of all layers at one step of `history["step"]`. Returns the Figure."""
    _require_history(history)
    require_one_of("step", step, [int(known) for known in history["step"]])
    index = int(np.flatnonzero(history["step"] == step)[0])
    n_layers = history["histogram"].shape[1]
    fig, ax = _sheet((8, 5))
    for layer in range(n_layers):
        _score_ridge(ax, history, index, layer, layer)
    ax.set(yticks=range(n_layers), ylabel=say("tầng", "layer"))
    _finish_ridges(fig, np.array([[ax]]), n_layers)
    loss = history["held_out_loss"][index]
    vi, en = f"bước {step}, mất mát {loss:.2f}".replace(".", ","), f"step {step}, loss {loss:.2f}"
    ax.set_title(say(vi, en))
    return fig


def link_scatter(shares):
    """Attention on grammatical links against what distance alone gives, one dot a head. Returns the Figure.

    `shares`: what `link_shares` returns. Above the line: more than distance explains. The heads
    farthest above it are labelled "layer.head".
    """
    require_table("shares", shares, ("kind", "layer", "head", "share", "expected_share"))
    fig, axes = _sheet((11.5, 4), 1, len(LINK_TITLES), sharey=True)
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


def rival_bars(shares, heads):
    """Does a head look at the right word, or at the nearest of its kind? Returns the Figure.

    `shares`: what `rival_shares` returns. `heads`: {kind: (layer, head)}. A panel a kind, two pairs of bars: the right
    word nearer, the rival nearer.
    """
    if not isinstance(heads, dict) or not heads or not all(np.shape(head) == (2,) for head in heads.values()):
        raise ValueError(f"heads: expected {{kind: (layer, head)}} for at least one kind, got {heads!r:.80}")
    for kind in heads:
        require_one_of("heads", kind, LINK_TITLES)
    require_table("shares", shares, ("kind", "layer", "head", "rival_is_nearer", "own_share", "rival_share"))
    fig, axes = _sheet((1.2 + 2.6 * len(heads), 3.9), 1, len(heads), sharey=True)
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


def _require_history(history):
    if not isinstance(history, dict) or "step" not in history:
        raise TypeError(f"history: expected what training_history returns, got {type(history).__name__}")


def _score_ridge(ax, history, step, layer, row):
    """A layer's raw scores at one step, drawn upwards from the height `row`, the share below 0 beside it.

    A head's scores are divided by their own root mean square; the ridge is the mean of the heads.
    """
    edges, bins = history["edges"], np.linspace(*RIDGE_REACH, 61)
    ridge = np.zeros(len(bins) - 1)
    for counts in history["histogram"][step, layer]:
        size = np.sqrt(np.average(((edges[1:] + edges[:-1]) / 2) ** 2, weights=counts))
        below = np.concatenate([[0], counts.cumsum()]) / counts.sum()  # the share of scores below each edge
        ridge += np.diff(np.interp(bins * size, edges, below))
    trained = np.log1p(history["step"][step]) / np.log1p(history["step"][-1])
    colour = sns.blend_palette([UNTRAINED, TRAINED], as_cmap=True)(trained)
    height = row - 0.9 * ridge / ridge.max()
    ax.fill_between(bins[1:], row, height, step="pre", color=colour, alpha=0.5, linewidth=0)
    ax.plot(bins[1:], height, drawstyle="steps-pre", color=colour, linewidth=1.3)
    share = history["share_below_zero"][step, layer].mean()
    ax.text(RIDGE_REACH[1], row - 0.12, f"{share:.0%}", ha="right", fontsize=10, color="0.25")


def _finish_ridges(fig, axes, n_rows):
    for ax in axes.flat:
        ax.set(xlim=RIDGE_REACH, ylim=(n_rows - 0.8, -1.1))
        ax.axvline(0, color="black", linestyle=":", linewidth=1.2)
    x = (
        "điểm thô q·k, đơn vị: căn trung bình bình phương (RMS) của từng đầu",
        "raw score q·k, unit: each head's root mean square (RMS)",
    )
    fig.supxlabel(say(*x, between="\n"), fontsize=12)


def _draw_profile(ax, table, column, colour, label):
    ax.scatter(table[column], table["layer"], color=colour, s=42, alpha=0.85, edgecolor="white", zorder=3)
    layers = table.groupby("layer")[column]
    mean, n = layers.mean(), layers.count()
    margin = student_t.ppf(0.975, (n - 1).clip(lower=1)) * layers.std() / np.sqrt(n)  # NaN, no bar, for one head
    ax.errorbar(mean, mean.index, xerr=margin, color=colour, linewidth=2, elinewidth=1.1, capsize=4, label=label)


def _label_heads(ax, table, x, y):
    """Write "layer.head" beside the dots farthest from the middle, where there is room for it."""
    places = (table[[x, y]] - table[[x, y]].min()) / np.ptp(table[[x, y]].to_numpy(), axis=0)
    farthest = ((places - places.median()) ** 2).sum(axis=1).nlargest(len(table)).index
    labelled = []
    for i in farthest:
        apart = [abs(places.loc[i] - places.loc[j]) for j in labelled]
        if len(labelled) < MOST_LABELS and all(dx > 0.12 or dy > 0.06 for dx, dy in map(tuple, apart)):
            labelled.append(i)
    for row in table.loc[labelled].itertuples():
        place = getattr(row, x), getattr(row, y)
        ax.annotate(f"{row.layer}.{row.head}", place, (4, 3), textcoords="offset points", fontsize=9, color="0.3")


def _key_label(entries):
    if entries == "key_0":
        return say("khóa 0", "key 0")
    return say("các khóa khác", "all other keys")


def _pooled(records, layer, entries):
    """The chosen scores of a layer in all records: [head, n]."""
    parts = [record.raw_scores[layer][:, select_entries(record.n_tokens, entries)] for record in records]
    return np.concatenate([part.numpy() for part in parts], axis=1)


def _mean_density(scores):
    """(x, y) of the mean of the heads' densities: heads differ too much to share a bandwidth."""
    x = np.linspace(scores.min(), scores.max(), 800)
    return x, np.mean([np.interp(x, *density(head)[:2]) for head in scores], axis=0)


def _reach(matrices):
    """The largest size of a visible score, so that colours are centred on 0."""
    return np.abs(matrices[..., causal_mask(matrices.shape[-1]).numpy()]).max() or 1.0


def _map_colours(kind, reach):
    """The colours of a head's map: weights from 0 to 1, scores centred on 0 and as far as `reach` on both sides."""
    if kind == "scores":
        return {"vmin": -reach, "vmax": reach, "cmap": DIVERGING.reversed()}
    return {"vmin": 0, "vmax": 1, "cmap": SEQUENTIAL}


def _draw_map(ax, matrix, kind, reach):
    future = ~causal_mask(len(matrix)).numpy()
    ax.imshow(np.ma.array(matrix, mask=future), **_map_colours(kind, reach))  # fast, however long the text
    for side in ("left", "bottom"):
        ax.spines[side].set(visible=True, color="0.7")


def _add_colorbar(fig, drawn, beside, kind):
    bar = fig.colorbar(drawn.images[0], ax=beside, shrink=0.8, label=say(*MAP_TITLES[kind], between="\n"))
    bar.outline.set_visible(False)


def _label_tokens(ax, tokens, size=10, left=True, below=True):
    step = _step(tokens)
    labels = [_label(token) for token in tokens[::step]]
    places, look = range(0, len(tokens), step), {"fontsize": size, "parse_math": False}  # "$$" is a token
    ax.set_xticks(places if below else [], labels if below else [], rotation=90, **look)
    ax.set_yticks(places if left else [], labels if left else [], rotation=0, **look)


def _tokens(tokens):
    require_several("tokens", tokens if not isinstance(tokens, str) else list(tokens), "string")
    if not all(isinstance(token, str) for token in tokens):
        raise TypeError(f"tokens: expected strings, got {tokens!r:.80}")
    return list(tokens)


def _step(tokens):
    return -(-len(tokens) // MOST_TOKENS)


def _which_are_named(tokens, before=""):
    """The words that say that not every token is named, or none where every one is."""
    step = _step(tokens)
    if step == 1:
        return ""
    return before + say(f"cứ {step} token thì ghi nhãn một", f"one token in {step} is named", "\n")


def _label(token):
    """A token on an axis: no blanks around it, no letter without a glyph, no more than LONGEST_LABEL letters."""
    shown = _drawable(token.strip(" ").replace("\n", "⏎")) or "␣"
    return shown if len(shown) <= LONGEST_LABEL else shown[: LONGEST_LABEL - 1] + "…"


def _drawable(text):
    """A text with □ for each letter that FONT has no picture of; Vietnamese letters composed, as a font has them."""
    return "".join(c if c.isprintable() and ord(c) in _glyphs() else "□" for c in unicodedata.normalize("NFC", text))


@cache
def _glyphs():
    return frozenset(font_manager.get_font(font_manager.findfont(FONT)).get_charmap())


def _sheet(size, *rows_and_columns, **shared):
    """(Figure, Axes) that lay themselves out; `size` in inches."""
    return plt.subplots(*rows_and_columns, figsize=size, layout="constrained", FigureClass=Sheet, **shared)
