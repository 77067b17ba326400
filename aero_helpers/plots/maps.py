"""Maps: one head's scores or weights, query by key."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from aero_helpers.arrays import Numbers, plain_tensor
from aero_helpers.attention import causal_mask
from aero_helpers.kde import density
from aero_helpers.language import say
from aero_helpers.plots.style import DIVERGING, KEY_0, OTHER_KEYS, SEQUENTIAL, Sheet, drawable, label, sheet
from aero_helpers.recording import AttentionRecord, require_record
from aero_helpers.require import is_whole, require_one_of, require_several
from aero_helpers.shift import select_entries

MOST_TOKENS = 40  # that a map names: of a longer text each second, third, …, and the map grows no more
MAP_TITLES = {"weights": ("trọng số chú ý", "attention weight"), "scores": ("điểm thô q·k", "raw score q·k")}


def attention_map(
    matrix: Numbers, tokens: Sequence[str], kind: str = "weights", title: str | None = None, ax: Axes | None = None
) -> Axes:
    """One head as a heatmap, [query, key] with tokens on both axes. Returns the Axes.

    kind: "weights" (0 to 1) or "scores" (raw, colours centred on 0). The future is left blank.
    """
    matrix = plain_tensor(matrix, "matrix").double().numpy()
    require_one_of("kind", kind, ("weights", "scores"))
    tokens = _tokens(tokens)
    if matrix.shape != (len(tokens), len(tokens)):
        raise ValueError(f"matrix: expected [{len(tokens)}, {len(tokens)}], one a token, got {list(matrix.shape)}")
    shown = matrix[causal_mask(len(matrix)).numpy()]
    if not np.isfinite(shown).all() or (kind == "weights" and not (shown.min() >= 0 and shown.max() < 1 + 1e-6)):
        hint = '; kind="scores" draws raw scores' * (kind == "weights")
        raise ValueError(f"matrix: expected {'weights, 0 to 1' if kind == 'weights' else 'finite scores'}{hint}")
    side = max(2.6, 0.36 * min(len(tokens), MOST_TOKENS))
    ax = ax or plt.subplots(figsize=(2.6 + side, 1.6 + side), layout="constrained")[1]
    _draw_map(ax, matrix, kind, _reach(matrix))
    _add_colorbar(ax.figure, ax, ax, kind)
    _label_tokens(ax, tokens)
    ax.set(xlabel=say("khóa", "key") + _which_are_named(tokens, "\n"), ylabel=say("truy vấn", "query"))
    ax.set_title(title or "", parse_math=False)
    return ax


def head_maps(record: AttentionRecord, layer: int, kind: str = "weights") -> Figure:
    """All heads of a layer side by side, tokens on the axes. Returns the Figure.

    Of a text longer than MOST_TOKENS each second, third, … token is named, and a line says so.
    """
    require_record(record)
    record.head_scores(layer, 0)  # refuses a layer that is not there
    require_one_of("kind", kind, ("weights", "scores"))
    columns = min(4, record.n_heads)
    rows = -(-record.n_heads // columns)
    side = 0.7 + 0.2 * min(record.n_tokens, MOST_TOKENS)
    fig, axes = sheet((columns * side + 1, rows * side + 0.8), rows, columns, squeeze=False)
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


def head_view(
    record: AttentionRecord, layer: int, head: int, query: int, kind: str = "weights", with_key_0: bool = True
) -> Figure:
    """One head and one row of it: the map, the row's scores and their softmax, the head's density. Returns the Figure.

    kind: "weights" or "scores", what the map shows. `with_key_0` false leaves key 0 out everywhere, of
    the softmax too, so that the other keys share its weight. Scores are raw. Made to be drawn fast: the
    explorer draws it at each move of a slider.

    Raises TypeError for anything but a record, IndexError for a layer, head or query that is not there,
    ValueError for a text under 3 tokens.
    """
    require_record(record)
    raw = record.head_scores(layer, head)
    require_one_of("kind", kind, ("weights", "scores"))
    if record.n_tokens < 3:
        raise ValueError(f"record: expected a text of 3 tokens or more, got {record.n_tokens}")
    if not is_whole(query) or not 0 <= query < record.n_tokens:
        raise IndexError(f"query: expected 0 to {record.n_tokens - 1}, got {query!r}")
    chosen = select_entries(record.n_tokens, "causal" if with_key_0 else "without_key_0")
    logits = (raw / record.head_size**0.5).masked_fill(~chosen, -torch.inf)
    weights = logits.softmax(dim=-1).nan_to_num(0).numpy()  # row 0 has nothing left without key 0
    scores, shown = raw.numpy(), chosen.numpy()
    fig = plt.figure(
        figsize=(11.5, 4.6), FigureClass=Sheet
    )  # places given by hand: an automatic layout takes longer than the drawing
    _draw_head(fig, weights if kind == "weights" else scores, shown, query, kind)
    above, below = fig.add_axes((0.47, 0.56, 0.33, 0.25)), fig.add_axes((0.47, 0.13, 0.33, 0.3))
    _draw_row(above, scores[query], shown[query])
    _draw_row(below, weights[query], shown[query])
    _name_strongest(below, weights[query], record.tokens)
    above.axhline(0, color="black", linestyle=":", linewidth=1.2)
    row = say(f"hàng {query}", f"row {query}") + f" ({label(record.tokens[query])}): "
    above.set_title(row + say("điểm thô", "raw scores"), fontsize=12, parse_math=False)
    below.set_title(say("trọng số", "weights"), fontsize=12)
    above.set(xticklabels=[])
    below.set(ylim=(0, 1.2), yticks=(0, 0.5, 1), xlabel=say("khóa", "key"))
    _draw_density(fig.add_axes((0.84, 0.13, 0.145, 0.68)), scores[shown])
    title = f"{drawable(record.model_name)}: " + say(f"tầng {layer}, đầu {head}", f"layer {layer}, head {head}")
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
    named: list[int] = []
    for key in np.argsort(-weights)[:3]:
        if weights[key] > 0.05 and all(abs(key - other) > 0.09 * len(weights) for other in named):
            ax.text(key, weights[key] + 0.03, label(tokens[key]), ha="center", fontsize=10, parse_math=False)
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
    labels = [label(token) for token in tokens[::step]]
    places, look = range(0, len(tokens), step), {"fontsize": size, "parse_math": False}  # "$$" is a token
    ax.set_xticks(places if below else [], labels if below else [], rotation=90, **look)
    ax.set_yticks(places if left else [], labels if left else [], rotation=0, **look)


def _tokens(tokens):
    tokens = list(tokens) if isinstance(tokens, str) else tokens
    require_several("tokens", tokens, "string")
    tokens = list(tokens)
    if not all(isinstance(token, str) for token in tokens):
        raise TypeError(f"tokens: expected strings, got {tokens!r:.80}")
    return tokens


def _step(tokens):
    return -(-len(tokens) // MOST_TOKENS)


def _which_are_named(tokens, before=""):
    """The words that say that not every token is named, or none where every one is."""
    step = _step(tokens)
    if step == 1:
        return ""
    return before + say(f"cứ {step} token thì ghi nhãn một", f"one token in {step} is named", "\n")
