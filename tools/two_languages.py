"""What a cell shows, in each language: loaded into the kernel that runs an instructor notebook (see run_notebooks.py).

An instructor notebook speaks both languages. Pages in one language show what it drew and wrote in that one: beside a
figure, as its metadata, goes the same figure with the words of one language alone, and the like for tables.
"""

import base64
import re
import unicodedata

from IPython import get_ipython
from IPython.core.pylabtools import print_figure
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter

from aero_helpers import explorer
from aero_helpers.language import both_said

LANGUAGES = ("vi", "en")
TYPED = re.compile(r"(?P<vi>[^/<>\n]+) / (?P<en>[^/<>\n]+)")  # "tầng / layer", as notebooks write it
MARKS = set("\u0300\u0301\u0303\u0309\u0323\u0302\u0306\u031b")  # tones; circumflex, breve, horn
pictures = {}  # {a figure in both languages as PNG in base64: {language: the same in one}}


def in_one(text, language):
    """A text that speaks both languages, in one."""
    for both, one in sorted(both_said.items(), key=lambda item: -len(item[0])):
        text = text.replace(both, one[language])
    return TYPED.sub(lambda found: found[language] if is_vietnamese(found["vi"]) else found[0], text)


def is_vietnamese(text):
    """Whether a text has a letter that Vietnamese has and formulas have not."""
    return bool(MARKS & set(unicodedata.normalize("NFD", text)) or set("đĐ") & set(text))


def draw_in_one(figure, language, draw):
    """What `draw` makes of a figure whose words are those of one language; then its own words are put back."""
    formatters = [axis.get_major_formatter() for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)]
    ticks = [(formatter, formatter.func) for formatter in formatters if isinstance(formatter, FuncFormatter)]
    texts = [(text, text.get_text()) for text in figure.findobj(Text)]
    try:
        for formatter, label in ticks:
            formatter.func = lambda x, place, label=label: in_one(str(label(x, place)), language)
        for text, said in texts:
            text.set_text(in_one(said, language))
        return draw(figure)
    finally:
        for formatter, label in ticks:
            formatter.func = label
        for text, said in texts:
            text.set_text(said)


def as_text(png):
    """A PNG in base64, whether it is so already or not."""
    return png.strip() if isinstance(png, str) else base64.b64encode(png).decode()


def keep(draw):
    """`draw`, a function from a figure to its PNG, that also keeps the picture in each language."""

    def kept(figure):
        png = draw(figure)
        in_each = {language: draw_in_one(figure, language, draw) for language in LANGUAGES}
        pictures[as_text(png)] = {language: as_text(one) for language, one in in_each.items()}
        return png

    return kept


def with_each_language(data, metadata):
    """The metadata of an output with its pictures and tables in each language."""
    found = dict(metadata or {})
    if data.get("image/png", "").strip() in pictures:
        found["image/png"] = {**found.get("image/png", {}), **pictures[data["image/png"].strip()]}
    html = data.get("text/html", "")
    if html and "base64" not in html and any(in_one(html, language) != html for language in LANGUAGES):
        found["text/html"] = {language: in_one(html, language) for language in LANGUAGES}
    return found


def install():
    """From here on, whatever this kernel shows has its one-language editions beside it."""
    shell = get_ipython()
    shell.run_line_magic("matplotlib", "inline")
    shell.display_formatter.formatters["image/png"].for_type(
        Figure, keep(lambda figure: print_figure(figure, fmt="png", base64=True, bbox_inches="tight"))
    )
    explorer._png = keep(explorer._png)
    formatted, publish = shell.display_formatter.format, shell.display_pub.publish

    def format_and_say(*arguments, **named):
        data, metadata = formatted(*arguments, **named)
        return data, with_each_language(data, metadata)

    def publish_and_say(data, metadata=None, **named):
        return publish(data, with_each_language(data, metadata), **named)

    shell.display_formatter.format, shell.display_pub.publish = format_and_say, publish_and_say
