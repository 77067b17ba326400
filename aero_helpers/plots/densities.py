"""Curves: how scores lie, over a layer, a model, a training."""

from collections.abc import Iterable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from aero_helpers.arrays import Numbers, real_numbers
from aero_helpers.kde import Density, density
from aero_helpers.language import say
from aero_helpers.plots.style import KEY_0, OTHER_KEYS, SEQUENTIAL, TRAINED, UNTRAINED, drawable, sheet
from aero_helpers.recording import AttentionRecord, of_one_model, require_record
from aero_helpers.require import require_number, require_one_of, require_several
from aero_helpers.shift import select_entries

FILM_STEPS = (0, 10, 32, 100, 316, 1000, 3162, 6000)
RIDGE_REACH = (-3, 3)
RIDGE_BINS = 60


def bandwidth_view(values: Numbers, bandwidth: str | float) -> Figure:
    """A histogram of the values and their density for one bandwidth; three rules' choices below. Returns the Figure."""
    chosen = density(values, bandwidth)
    values = real_numbers(values)
    fig, ax = sheet((8.5, 4))
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


def density_map(
    curves: Sequence[Sequence[Density]], low: float, high: float, xlabel: str, ax: Axes | None = None
) -> Axes:
    """The densities of all layers as a heatmap: layer downwards, value to the right. Returns the Axes.

    `curves`: for each layer the Density of each of its heads; shown is their mean, from low to high.
    Colours are logarithmic over three decades below the highest peak: density spans many.
    """
    require_number("low", low)
    require_number("high", high)
    require_several("curves", curves, "list of Density")
    curves = list(curves)
    if not all(
        isinstance(heads, (list, tuple)) and heads and all(isinstance(head, Density) for head in heads)
        for heads in curves
    ):
        raise ValueError("curves: expected for each layer a list of what density returns, one a head")
    if not low < high:
        raise ValueError(f"low and high: expected low < high, got {low} and {high}")
    rows = np.array([_mean_heights(heads, np.linspace(low, high, 401)) for heads in curves])
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


def score_densities(trained: AttentionRecord, untrained: AttentionRecord, entries: str = "causal") -> Figure:
    """Density of the raw scores of all heads, untrained beside trained. Returns the Figure.

    Each has its own horizontal scale, centred on 0: an untrained model's scores are far smaller.
    """
    for record in (untrained, trained):
        require_record(record)
    fig, axes = sheet((10, 3.8), 1, 2)
    for ax, record, colour in zip(axes, (untrained, trained), (UNTRAINED, TRAINED)):
        scores = record.raw_scores[..., select_entries(record.n_tokens, entries)].numpy().ravel()
        x, y, _ = density(scores)
        ax.fill_between(x, y, color=colour, alpha=0.35, linewidth=0)
        ax.plot(x, y, color=colour, linewidth=2)
        ax.axvline(0, color="black", linestyle=":", linewidth=1.4)
        reach = 1.1 * np.abs(np.quantile(scores, [0.002, 0.998])).max()
        ax.set(xlim=(-reach, reach), ylim=(0, None), yticks=[], xlabel=say("điểm thô q·k", "raw score q·k"))
        below = f"{(scores < 0).mean():.0%}"
        ax.set_title(f"{drawable(record.model_name)}: " + say(f"{below} dưới 0", f"{below} below 0"), parse_math=False)
        sns.despine(ax=ax, left=True)
    axes[0].set_ylabel(say("mật độ", "density"))
    return fig


def layer_ridges(records: AttentionRecord | Iterable[AttentionRecord], ax: Axes | None = None) -> Axes:
    """Density of the raw scores by layer, key 0 apart from all other keys. Returns the Axes.

    `records`: one record, or several of one model, whose scores are pooled. A curve is the mean of
    the densities of the layer's heads, each with its own bandwidth (Scott's rule), drawn from the
    lowest to the highest score and to its own height: compare where they lie, not how high.
    """
    records = list(of_one_model([records] if isinstance(records, AttentionRecord) else records))
    if min(record.n_tokens for record in records) < 3:
        raise ValueError(f"records: expected records of 3 tokens or more, got {records}")
    n_layers = records[0].n_layers
    for layer in range(n_layers):
        if (np.ptp(_pooled(records, layer, "without_key_0"), axis=1) == 0).any():
            raise ValueError(f"records: expected scores that vary, got a head of layer {layer} with one value alone")
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


def training_stills(history: dict[str, np.ndarray]) -> Figure:
    """The raw scores of each layer while mini learns, one ridge a step: the film as one still. Returns the Figure.

    `history`: `aero.training_history()`. Scores grow a hundredfold, so each ridge is drawn in units
    of its own size (see `_score_ridge`), and the share below 0 stands beside it.
    """
    _require_history(history)
    steps = [np.abs(history["step"] - step).argmin() for step in FILM_STEPS]
    n_layers = history["histogram"].shape[1]
    fig, axes = sheet((9.5, 6.4), 2, -(-n_layers // 2), sharex=True, sharey=True)
    for layer, ax in zip(range(n_layers), axes.flat):
        for row, step in enumerate(steps):
            _score_ridge(ax, history, step, layer, row)
        ax.set_yticks(range(len(steps)), [str(history["step"][step]) for step in steps])
        ax.set_title(say(f"tầng {layer}", f"layer {layer}"), fontsize=12)
    _finish_ridges(fig, axes, len(steps))
    fig.supylabel(say("bước huấn luyện", "training step"), fontsize=12)
    title = "Độ dịch xuất hiện lúc nào? (%: tỉ lệ điểm dưới 0)", "When does the shift appear? (%: share below 0)"
    fig.suptitle(say(*title, between="\n"))
    return fig


def training_frame(history: dict[str, np.ndarray], step: int) -> Figure:
    """One frame of that film: the raw scores of all layers at one step of `history["step"]`. Returns the Figure."""
    _require_history(history)
    require_one_of("step", step, [int(known) for known in history["step"]])
    index = int(np.flatnonzero(history["step"] == step)[0])
    n_layers = history["histogram"].shape[1]
    fig, ax = sheet((8, 5))
    for layer in range(n_layers):
        _score_ridge(ax, history, index, layer, layer)
    ax.set(yticks=range(n_layers), ylabel=say("tầng", "layer"))
    _finish_ridges(fig, np.array([[ax]]), n_layers)
    loss = history["held_out_loss"][index]
    vi, en = f"bước {step}, mất mát {loss:.2f}".replace(".", ","), f"step {step}, loss {loss:.2f}"
    ax.set_title(say(vi, en))
    return fig


def _require_history(history):
    if not isinstance(history, dict) or "step" not in history:
        raise TypeError(f"history: expected what training_history returns, got {type(history).__name__}")


def in_own_size(edges: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """A head's histogram in units of its scores' root mean square: shares of RIDGE_BINS bins over RIDGE_REACH."""
    size = np.sqrt(np.average(((edges[1:] + edges[:-1]) / 2) ** 2, weights=counts))
    below = np.concatenate([[0], counts.cumsum()]) / counts.sum()  # the share of scores below each edge
    return np.diff(np.interp(np.linspace(*RIDGE_REACH, RIDGE_BINS + 1) * size, edges, below))


def _score_ridge(ax, history, step, layer, row):
    """A layer's raw scores at one step, drawn upwards from the height `row`, the share below 0 beside it.

    A head's scores are divided by their own root mean square; the ridge is the mean of the heads.
    """
    bins = np.linspace(*RIDGE_REACH, RIDGE_BINS + 1)
    ridge = np.sum([in_own_size(history["edges"], counts) for counts in history["histogram"][step, layer]], axis=0)
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
    edges = np.concatenate([x[:1], (x[1:] + x[:-1]) / 2, x[-1:]])  # a piece about each x
    return x, _mean_heights(map(density, scores), edges)


def _mean_heights(curves, edges):
    """The mean of some densities between each two edges: taken from areas, so that no hill is too narrow to be seen."""
    heights = []
    for x, y, _ in curves:
        area = np.concatenate([[0], np.cumsum((y[1:] + y[:-1]) / 2 * np.diff(x))])  # below each x
        heights.append(np.diff(np.interp(edges, x, area)) / np.diff(edges))
    return np.mean(heights, axis=0)
