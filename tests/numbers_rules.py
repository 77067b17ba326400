"""Every number in the course's prose comes from somewhere: how the numbers of a text are found, and what binds them.

Simple and strict: decimals and percentages. A number is bound where a checked output of its notebook has it, where
findings.json has it under a label that the same cell or section names (`findings` 7a), or where number_sources.txt
lists it with its source. Signs do not count; a number with k decimals is bound by a number that rounds to it.
"""

import json
import re

from conftest import ROOT

FINDINGS = json.loads((ROOT / "docs" / "findings.json").read_text(encoding="utf-8"))
NOT_PROSE = (
    r"```.*?```",  # code
    r"`[^`\n]*`",
    r"\$\$.*?\$\$",  # formulas
    r"\$[^$\n]*\$",
    r"<[^>\n]*>",
    r"\]\([^)\n]*\)",  # where a link goes
    r"arXiv \d{4}\.\d{4,5}",
    r"https?://\S+",
    r"Apache-2\.0",
)
LABEL = r"(?<![\w.])p?\d{1,2}[a-l](?![\w.])"


def numbers_in(text, language):
    """[(as written, value, decimals)] of a text's decimals and percentages.

    Vietnamese writes a decimal comma, and a point between thousands or in a head's name (3.3); English the reverse.
    """
    for pattern in NOT_PROSE:
        text = re.sub(pattern, " ", text, flags=re.DOTALL)
    point, thousands = (",", ".") if language == "vi" else (".", ",")
    found = []
    for match in re.finditer(r"(?<![\w.,])\d[\d.,]*\d(?:\s?%)?(?!\w)|(?<![\w.,])\d\s?%", text):
        written = match[0]
        digits = re.sub(rf"{re.escape(thousands)}(?=\d{{3}}(?!\d))", "", written.rstrip("% "))
        if thousands in digits or digits.count(point) > 1 or not (point in digits or written.endswith("%")):
            continue  # a head's name, a list, a version, a whole number
        value = float(digits.replace(point, "."))
        decimals = len(digits.partition(point)[2])
        found.append((written, value / 100, decimals + 2) if written.endswith("%") else (written, value, decimals))
    return found


def values_in(output):
    """The numbers that an output shows; 8% is 0.08."""
    found = []
    for digits, percent in re.findall(r"(?<![\w.])[+\-−±]?(\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)(%?)", output):
        value = float(digits.replace(",", "").rstrip("."))
        found.append(value / 100 if percent else value)
    return found


def values_of(labels, findings=FINDINGS):
    """The numbers that findings.json has under any of the labels, in any column and at any length."""
    found = []
    for column in findings.values():
        for name, value in column.items():
            if name.split(".")[0] in labels:
                found += [x for x in (value if isinstance(value, list) else [value]) if isinstance(x, (int, float))]
                found += [float(x) for x in (value if isinstance(value, list) else [value]) if isinstance(x, str)]
    return found


def labels_in(text):
    """The findings' labels that a text names: 7a, p1d, and all of 6a–6e."""
    labels = set(re.findall(LABEL, text))
    for start, first, last in re.findall(r"(?<![\w.])(p?\d{1,2})([a-l])–(?:p?\d{1,2})?([a-l])(?!\w)", text):
        labels |= {f"{start}{chr(letter)}" for letter in range(ord(first), ord(last) + 1)}
    return labels


def unbound(text, language, outputs=(), sources=()):
    """The numbers of a text, as written, that neither outputs, nor the findings it names, nor sources bind."""
    values = [value for output in outputs for value in values_in(output)] + values_of(labels_in(text)) + list(sources)
    return [
        written
        for written, value, decimals in numbers_in(text, language)
        if not any(abs(abs(known) - value) <= 0.5 * 10**-decimals + 1e-9 for known in values)
    ]


def read_sources():
    """{place: [numbers]} of number_sources.txt."""
    found = {}
    for line in (ROOT / "tests" / "number_sources.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            place, numbers, why = (part.strip() for part in line.split("|"))
            assert why, line
            found.setdefault(place, []).extend(
                float(number.rstrip("%")) / (100 if number.endswith("%") else 1) for number in numbers.split()
            )
    return found
