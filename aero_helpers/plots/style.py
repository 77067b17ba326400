"""The course's look: one palette, safe for colour-blind eyes (Okabe and Ito), letters, figures shown once."""

import unicodedata
from functools import cache
from typing import Any

import matplotlib.pyplot as plt
import seaborn as sns
from IPython import get_ipython
from IPython.display import display
from matplotlib import font_manager
from matplotlib.figure import Figure

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
FONT = "DejaVu Sans"  # comes with matplotlib; has Vietnamese and small digits, which not every "Arial" has
DIVERGING = sns.color_palette("vlag_r", as_cmap=True)  # blue: mostly below zero, red: mostly above
SEQUENTIAL = sns.color_palette("rocket_r", as_cmap=True)


class Sheet(Figure):
    """A figure that a notebook shows once, be it the last value of a cell, followed by `;`, or in the cell's middle.

    Jupyter shows each open figure at a cell's end, and the cell's last value as well.
    """

    def _ipython_display_(self):
        plt.close(self)
        formatters = get_ipython().display_formatter.formatters
        shown = {mime: formatter(self) for mime, formatter in formatters.items()}
        display({mime: data for mime, data in shown.items() if data is not None}, raw=True)


def use_style() -> None:
    """Draw from now on in the course's style: large type, light background, figures of 110 dpi."""
    sns.set_theme("notebook", "ticks", font=FONT, font_scale=1.05)
    plt.rcParams.update({"figure.dpi": 110, "savefig.dpi": 110, "axes.titlesize": 13})
    plt.rcParams.update(
        {"patch.force_edgecolor": False, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
    )


def label(token: str) -> str:
    """A token on an axis: no blanks around it, no letter without a glyph, no more than LONGEST_LABEL letters."""
    shown = drawable(token.strip(" ").replace("\n", "⏎")) or "␣"
    return shown if len(shown) <= LONGEST_LABEL else shown[: LONGEST_LABEL - 1] + "…"


def drawable(text: str) -> str:
    """A text with □ for each letter that FONT has no picture of; Vietnamese letters composed, as a font has them."""
    return "".join(c if c.isprintable() and ord(c) in _glyphs() else "□" for c in unicodedata.normalize("NFC", text))


@cache
def _glyphs():
    return frozenset(font_manager.get_font(font_manager.findfont(FONT)).get_charmap())


def sheet(size: tuple[float, float], *rows_and_columns: int, **shared: Any) -> tuple[Figure, Any]:
    """(Figure, Axes) that lay themselves out; `size` in inches."""
    return plt.subplots(*rows_and_columns, figsize=size, layout="constrained", FigureClass=Sheet, **shared)
