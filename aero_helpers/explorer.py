"""The widgets (ipywidgets): pictures with a slider, for JupyterLab, VS Code and Colab."""

import io

import ipywidgets
import matplotlib.pyplot as plt

from aero_helpers import plots
from aero_helpers.language import say
from aero_helpers.mini import training_history


def training_film():
    """The film of mini's training: a slider over the steps, and the raw scores of all layers at that step.

    Where no widget can run, `plots.training_stills(training_history())` is the still.
    """
    history = training_history()
    steps = [int(step) for step in history["step"]]
    slider = ipywidgets.SelectionSlider(options=steps, value=0, description=say("bước", "step"))
    picture = ipywidgets.Image(format="png", layout={"max_width": "900px"})

    def show(_=None):
        picture.value = _png(plots.training_frame(history, slider.value))

    slider.observe(show, names="value")
    show()
    return ipywidgets.VBox([slider, picture])


def _png(figure):
    """A figure as PNG bytes, closed, so that no notebook shows it a second time."""
    with io.BytesIO() as file:
        figure.savefig(file, format="png")
        plt.close(figure)
        return file.getvalue()
