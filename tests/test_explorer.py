import base64
import gc
import io
import re
import weakref

import make_editions
import nbformat
import numpy as np
import pytest
import torch
from IPython.core.formatters import DisplayFormatter
from matplotlib import pyplot as plt
from PIL import Image
from scipy.stats import gaussian_kde

import aero_helpers as aero
from aero_helpers import plots


def pixels(widget):
    return np.asarray(Image.open(io.BytesIO(widget.picture.value)).convert("L")).astype(int)


@pytest.fixture(autouse=True)
def both_languages():
    aero.set_language("both")
    yield
    aero.set_language("both")


@pytest.mark.parametrize("make", [lambda record: aero.explore(record), lambda record: aero.training_film()])
def test_each_control_changes_the_picture_and_back_again(make, record):
    explorer = make(record)
    first = pixels(explorer)
    for name, control in explorer.controls.items():
        before = control.value
        last = control.options[0] if hasattr(control, "options") else None
        control.value = {"kind": "scores", "with_key_0": False, "step": last, "query": 5}.get(name, 1)
        assert (abs(pixels(explorer) - first) > 20).mean() > 0.002, name
        control.value = before
        assert np.array_equal(pixels(explorer), first), name
    assert plt.get_fignums() == []  # no figure is left behind to be shown twice


def test_the_film_has_every_step():
    steps = aero.training_film().controls["step"].options
    assert [int(step) for step in steps] == aero.training_history()["step"].tolist()


@pytest.fixture
def shown(monkeypatch):
    """What is displayed: a list of {MIME type: data}."""
    outputs = []
    monkeypatch.setattr("aero_helpers.explorer.display", lambda data, raw: outputs.append(data))
    return outputs


def test_a_widget_comes_with_a_still_for_places_where_none_can_run(record, shown):
    explorer = aero.explore(record)
    assert DisplayFormatter().format(explorer) == ({}, {})  # it has shown itself, and there is no second picture
    widget, still = shown
    assert widget["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.model_id
    assert base64.b64decode(still["image/png"]) == explorer.picture.value
    assert still["image/png"] in still["text/html"] and f'class="still-{explorer.model_id}"' in still["text/html"]


def test_stored_outputs_keep_the_still_alone(record, shown):
    aero.explore(record)._ipython_display_()
    outputs = [nbformat.v4.new_output("display_data", data) for data in shown]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=outputs)])
    make_editions.drop_widgets(notebook)
    assert [set(output.data) for output in notebook.cells[0].outputs] == [{"text/plain", "image/png"}]


def test_widgets_speak_the_chosen_language(record):
    aero.set_language("vi")
    controls = aero.explore(record).controls
    assert controls["layer"].description == "tầng" and controls["with_key_0"].description == "tính khóa 0"
    assert aero.training_film().controls["step"].description == "bước"


def axes_of(record, *where, **how):
    figure = plots.head_view(record, *where, **how)
    plt.close(figure)
    return {name: ax for name, ax in zip(("map", "colours", "scores", "weights", "density"), figure.axes)}


def bars(ax):
    """{key: height} of the row's bars."""
    segments = ax.collections[0].get_segments()
    return {int(segment[0, 0]): segment[1, 1] for segment in segments}


def test_the_row_is_the_records_own(record):
    axes = axes_of(record, 2, 1, 7)
    scores, weights = bars(axes["scores"]), bars(axes["weights"])
    assert list(scores) == list(range(8))
    assert np.allclose(list(scores.values()), record.raw_scores[2, 1, 7, :8])
    assert np.allclose(list(weights.values()), record.weights()[2, 1, 7, :8])
    drawn = axes["map"].images[0].get_array()
    assert np.allclose(np.asarray(drawn[7, :8]), record.weights()[2, 1, 7, :8]) and drawn.mask[7, 8:].all()
    assert f"{(record.raw_scores[2, 1][aero.causal_mask(record.n_tokens)] < 0).float().mean():.0%}" in (
        axes["density"].get_title()
    )


def test_without_key_0_the_others_share_its_weight(record):
    whole = record.weights()[2, 1, 7, :8].double()
    weights = bars(axes_of(record, 2, 1, 7, with_key_0=False)["weights"])
    assert list(weights) == list(range(1, 8))
    assert np.allclose(list(weights.values()), whole[1:] / (1 - whole[0]), atol=1e-5)


def test_row_0_without_key_0_is_drawn_empty(record):
    assert bars(axes_of(record, 0, 0, 0, with_key_0=False)["weights"]) == {}


def test_scores_that_are_all_the_same_are_drawn():
    axes_of(aero.AttentionRecord(list("abcd"), torch.zeros(1, 1, 4, 4), 8, "zeros"), 0, 0, 2, kind="scores")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"query": 99}, IndexError, "query: expected 0 to 19, got 99"),
        ({"query": -1}, IndexError, "query: expected 0 to 19, got -1"),
        ({"layer": 6}, IndexError, "layer: expected 0 to 5 for mini, got 6"),
        ({"kind": "logits"}, ValueError, "kind: expected one of weights, scores, got 'logits'"),
    ],
)
def test_a_view_that_is_not_there_is_refused(record, change, error, message):
    with pytest.raises(error, match=re.escape(message)):
        plots.head_view(record, **({"layer": 0, "head": 0, "query": 3} | change))


def test_a_text_too_short_is_refused(mini):
    with pytest.raises(ValueError, match="expected a text of 3 tokens or more, got 1"):
        aero.explore(mini.record("The"))
    with pytest.raises(TypeError, match="record: expected an AttentionRecord, got str"):
        aero.explore("The old man")


def test_the_bandwidth_slider_starts_at_scotts_and_moves_the_curve():
    values = np.random.default_rng(0).normal(size=500)
    explorer = aero.explore_bandwidth(values)
    slider, first = explorer.controls["bandwidth"], pixels(explorer)
    assert slider.value == pytest.approx(gaussian_kde(values).factor * values.std(ddof=1), rel=1e-3)
    slider.value = slider.value / 10
    assert (abs(pixels(explorer) - first) > 20).mean() > 0.01
    with pytest.raises(ValueError, match="values: expected"):
        aero.explore_bandwidth([1.0])


def test_a_captioned_table_is_in_the_chosen_language(record):
    table = aero.shift_table(record)[["layer", "head", "share_below_zero"]].head(2)
    aero.set_language("vi")
    vi = aero.captioned(table, "Hai đầu", "Two heads").to_html()
    assert "Hai đầu" in vi and "tỉ lệ điểm dưới 0" in vi and "Two heads" not in vi and "share" not in vi
    aero.set_language("both")
    both = aero.captioned(table, "Hai đầu", "Two heads").to_html()
    assert "Hai đầu / Two heads" in both and f"{table.share_below_zero[0]:.2f}" in both


def ridge(ax, row):
    return ax.lines[row].get_xydata()


def test_a_frame_shows_the_histogram_of_its_step():
    history = aero.training_history()
    figure = plots.training_frame(history, 6000)
    ax = figure.axes[0]
    for layer in range(6):
        x, y = ridge(ax, layer).T
        height = layer - y
        below = height[x <= 0].sum() / height.sum()  # each head in its own unit: 0 stays 0
        assert below == pytest.approx(history["share_below_zero"][-1, layer].mean(), abs=0.02)
    shares = [text.get_text() for text in ax.texts]
    assert shares == [f"{history['share_below_zero'][-1, layer].mean():.0%}" for layer in range(6)]
    plt.close(figure)
    with pytest.raises(ValueError, match=r"step: expected one of 0, 1, 2, .* got 5"):
        plots.training_frame(history, 5)
    with pytest.raises(ValueError, match=r"got 3\.7"):
        plots.training_frame(history, 3.7)


def test_the_still_has_every_layer_and_the_same_steps():
    figure = plots.training_stills(aero.training_history())
    assert len(figure.axes) == 6
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "0", "10", "32", "100", "316", "1000", "3162", "6000",
    ]  # fmt: skip
    plt.close(figure)


def test_older_explorers_keep_their_picture_and_let_go_of_their_record(mini):
    records = [
        mini.record(f"The old man looked at {thing}.") for thing in ("the sea", "a dog", "her", "it", "me", "us")
    ]
    held = [weakref.ref(record) for record in records]
    explorers = [aero.explore(record) for record in records]
    first = explorers[0].picture.value
    del records
    gc.collect()
    assert [record() is not None for record in held] == [False, False, True, True, True, True]
    assert explorers[0].picture.value == first
    assert all(control.disabled for control in explorers[0].controls.values())
    assert "Run this cell again" in explorers[0].children[0].value
    explorers[0].controls["layer"].value = 0  # as a late message from the page would; nothing is drawn, nothing raised
    assert explorers[0].picture.value == first
    before = pixels(explorers[-1])
    explorers[-1].controls["layer"].value = 0
    assert not np.array_equal(pixels(explorers[-1]), before)
