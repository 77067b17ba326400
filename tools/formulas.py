"""Formulas as MathML, which browsers draw without a network; the site's and the slides'."""

import latex2mathml.converter


def mathml(tex, block=False):
    """A formula in TeX as MathML, on a line of its own or within one."""
    tex = tex.replace(r"\mathrm{", r"\operatorname{").replace(r"\_", "_")  # upright words, their underscores too
    return latex2mathml.converter.convert(tex, display="block" if block else "inline")
