import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex

import aero_helpers as aero
from aero_helpers import plots


@pytest.fixture(autouse=True)
def closed():
    aero.set_language("both")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def vietnamese(mini):
    return mini.record("Ông già nhìn ra biển.\n")


def draw(figure):
    """Draw for real: a missing glyph or a layout that does not fit is a warning, and so an error here."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.canvas.draw()


def test_attention_map_shows_the_past_and_hides_the_future(record):
    ax = plots.attention_map(record.head_weights(2, 1), record.tokens, title="t")
    shown = ax.collections[0].get_array()
    assert np.array_equal(~np.ma.getmaskarray(shown), aero.causal_mask(record.n_tokens).numpy())
    assert np.allclose(shown.compressed(), record.head_weights(2, 1)[aero.causal_mask(record.n_tokens)])
    assert [label.get_text() for label in ax.get_yticklabels()][:3] == ["The", "old", "man"]
    draw(ax.figure)


def test_vietnamese_tokens_and_line_ends_are_drawn(vietnamese):
    ax = plots.attention_map(vietnamese.head_scores(0, 0), vietnamese.tokens, kind="scores")
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert "⏎" in labels and "Ô₁" in labels
    assert ax.collections[0].norm.vmin == -ax.collections[0].norm.vmax
    draw(ax.figure)


def test_head_maps_draw_each_head_once(record):
    figure = plots.head_maps(record, layer=3)
    titles = [ax.get_title() for ax in figure.axes if ax.get_visible()]
    assert titles == [f"đầu 3.{head} / head 3.{head}" for head in range(4)]
    draw(figure)
    with pytest.raises(IndexError, match="layer: expected 0 to 5"):
        plots.head_maps(record, layer=6)


def test_layer_head_map_shows_the_table(record):
    table = aero.shift_table(record)
    ax = plots.layer_head_map(table, "share_below_zero")
    assert np.allclose(ax.collections[0].get_array().ravel(), table.share_below_zero)
    draw(ax.figure)
    with pytest.raises(ValueError, match="column: expected one of share_below_zero"):
        plots.layer_head_map(table, "beauty")


def test_trained_and_untrained_keep_their_colours_and_shares(record, mini):
    null = mini.untrained().record("the old man and the sea")
    figure = plots.score_densities(record, null)
    for ax, shown, colour in zip(figure.axes, (null, record), (plots.UNTRAINED, plots.TRAINED)):
        scores = shown.raw_scores[..., aero.select_entries(shown.n_tokens)]
        assert to_hex(ax.lines[0].get_color()).upper() == colour.upper()
        assert f"{(scores < 0).float().mean():.0%} below 0" in ax.get_title()
    draw(figure)


def test_ridges_have_two_curves_a_layer_that_stay_in_their_row(record):
    ax = plots.layer_ridges([record, record])
    curves = [line for line in ax.lines if len(line.get_xdata()) > 2]
    assert [to_hex(line.get_color()).upper() for line in curves] == [plots.OTHER_KEYS, plots.KEY_0] * record.n_layers
    for i, line in enumerate(curves):
        assert i // 2 - 1 < line.get_ydata().min() and line.get_ydata().max() <= i // 2
    draw(ax.figure)


def test_sparsity_plot_names_its_correlations(record):
    table = aero.shift_table(record)
    figure = plots.what_goes_with_sparsity(table)
    assert [ax.get_title()[:3] for ax in figure.axes] == ["ρ =", "ρ ="]
    assert np.allclose(figure.axes[1].collections[0].get_offsets(), table[["row_spread", "entropy"]])
    draw(figure)


def test_labels_follow_the_language(record):
    aero.set_language("vi")
    assert plots.layer_ridges(record).get_xlabel() == "điểm thô q·k"
    aero.set_language("en")
    assert plots.layer_ridges(record).get_xlabel() == "raw score q·k"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda r: plots.attention_map(r.weights(), r.tokens), "matrix: expected"),
        (lambda r: plots.attention_map(r.head_weights(0, 0), r.tokens, kind="raw"), "expected 'weights' or 'scores'"),
    ],
)
def test_bad_input_is_named(record, call, words):
    with pytest.raises(ValueError, match=words):
        call(record)
