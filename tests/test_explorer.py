import io

import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image

import aero_helpers as aero
from aero_helpers import plots


def pixels(widget):
    return np.asarray(Image.open(io.BytesIO(widget.children[1].value)).convert("L"))


def test_the_slider_moves_the_film():
    film = aero.training_film()
    slider = film.children[0]
    assert [int(step) for step in slider.options] == aero.training_history()["step"].tolist()
    first = pixels(film)
    slider.value = 6000
    assert (pixels(film) != first).mean() > 0.01
    slider.value = 0
    assert np.array_equal(pixels(film), first)
    assert plt.get_fignums() == []  # no figure is left behind to be shown twice


def test_the_film_speaks_the_chosen_language():
    aero.set_language("vi")
    try:
        assert aero.training_film().children[0].description == "bước"
    finally:
        aero.set_language("both")


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
