"""The widgets (ipywidgets 7.7 and 8): pictures with controls, for JupyterLab, VS Code and Colab."""

import base64
import io
from collections import deque

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display

from aero_helpers import plots
from aero_helpers.arrays import Numbers, real_numbers
from aero_helpers.kde import density
from aero_helpers.language import say
from aero_helpers.mini import training_history
from aero_helpers.recording import AttentionRecord, require_record

VIEW = "application/vnd.jupyter.widget-view+json"
LIVING = 4  # explorers that can be moved at once


_living: deque = deque()  # the explorers whose controls move, oldest first


class Explorer(ipywidgets.VBox):
    """Controls above a picture, which `draw` makes anew when a control moves.

    `controls`: {name: ipywidget}; `draw` takes their values by these names and returns a Figure. A still of the
    picture is shown where the widget is not: on GitHub, in a page, in a saved notebook whose kernel is another.

    Jupyter keeps every widget ever made, and `draw` a record, of half a gigabyte for a long text of GPT-2's. So the
    last LIVING explorers can be moved; an older one keeps its picture, and says that its cell brings it back to life.
    """

    def __init__(self, controls, draw):
        super().__init__()
        self.controls, self._draw = controls, draw
        self.picture = ipywidgets.Image(format="png", layout=ipywidgets.Layout(max_width="100%"))
        wrapped = ipywidgets.Layout(display="flex", flex_flow="row wrap")
        hides_still = ipywidgets.HTML(f"<style>.still-{self.model_id} {{ display: none !important }}</style>")
        hides_still.layout.display = "none"
        self.children = [ipywidgets.Box(list(controls.values()), layout=wrapped), self.picture, hides_still]
        for control in controls.values():
            control.observe(self._redraw, names="value")
        self._redraw()
        _living.append(self)
        if len(_living) > LIVING:
            _living.popleft()._rest()

    def _rest(self):
        """Let go of what `draw` holds; the picture stays as it is."""
        self._draw = None
        for control in self.controls.values():
            control.unobserve_all("value")
            control.disabled = True
        words = say("Chạy lại ô mã này để dùng tiếp các thanh trượt.", "Run this cell again to move the sliders.")
        self.children = [ipywidgets.Label(words), *self.children]

    def _redraw(self, _=None):
        self.picture.value = _png(self._draw(**{name: control.value for name, control in self.controls.items()}))

    def _ipython_display_(self, **kwargs):
        """Show the widget, and a still that the widget's own style hides: when the widget goes, the still is there."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        png = base64.b64encode(self.picture.value).decode()
        words = say("Ảnh tĩnh của hình có thanh trượt", "A still of the picture with sliders")
        still = f'<img class="still-{self.model_id}" alt="{words}" src="data:image/png;base64,{png}">'
        name = type(self).__name__
        display({"text/plain": name, VIEW: view}, raw=True)
        display({"text/plain": name, "text/html": still, "image/png": png}, raw=True)


def explore(record: AttentionRecord) -> Explorer:
    """Look into one text head by head: the map, a row with its softmax, the density. Returns an Explorer.

    Controls: layer, head, query, raw scores or weights, key 0 counted or left out (of the softmax as well).
    Raises TypeError for anything but a record, ValueError for a text under 3 tokens.

    >>> import aero_helpers as aero
    >>> list(aero.explore(aero.load("mini").record("The old man looked.")).controls)
    ['layer', 'head', 'query', 'kind', 'with_key_0']
    """
    require_record(record)
    controls = {
        "layer": _slider(say("tầng", "layer"), record.n_layers // 2, record.n_layers - 1),
        "head": _slider(say("đầu", "head"), 0, record.n_heads - 1),
        "query": _slider(say("truy vấn", "query"), record.n_tokens - 1, record.n_tokens - 1),
        "kind": ipywidgets.ToggleButtons(
            options=[(say("trọng số", "weights"), "weights"), (say("điểm thô", "raw scores"), "scores")],
            style={"button_width": "initial"},
        ),
        "with_key_0": ipywidgets.Checkbox(value=True, indent=False, description=say("tính khóa 0", "with key 0")),
    }
    return Explorer(controls, lambda **chosen: plots.head_view(record, **chosen))


def explore_bandwidth(values: Numbers) -> Explorer:
    """A density with a slider for its bandwidth, from a twentieth of Scott's to four times it. Returns an Explorer.

    Raises what `density` raises.

    >>> list(explore_bandwidth([0.0, 1.0, 3.0]).controls)
    ['bandwidth']
    """
    scott = density(values).bandwidth
    values = real_numbers(values).copy()  # the slider keeps its own
    low, high = np.log10(scott / 20), np.log10(scott * 4)
    slider = ipywidgets.FloatLogSlider(
        value=scott, min=low, max=high, step=(high - low) / 60, description="h", readout_format=".3g"
    )
    return Explorer({"bandwidth": slider}, lambda bandwidth: plots.bandwidth_view(values, bandwidth))


def training_film() -> Explorer:
    """The film of mini's training: a slider over the steps, and the raw scores of all layers at that step.

    >>> list(training_film().controls)
    ['step']
    """
    history = training_history()
    steps = [int(step) for step in history["step"]]
    slider = ipywidgets.SelectionSlider(options=steps, value=steps[-1], description=say("bước", "step"))
    return Explorer({"step": slider}, lambda step: plots.training_frame(history, step))


def _slider(name, value, last):
    return ipywidgets.IntSlider(value, 0, last, description=name, style={"description_width": "initial"})


def _png(figure):
    """A figure as PNG bytes, closed, so that no notebook shows it a second time."""
    with io.BytesIO() as file:
        figure.savefig(file, format="png", pil_kwargs={"compress_level": 1})
        plt.close(figure)
        return file.getvalue()
