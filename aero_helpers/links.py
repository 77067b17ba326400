"""Grammatical links: do heads look at them, beyond what the distance alone would give?

The scenes in `scenes.txt` were written for this course, with four kinds of links marked: from a
noun back to its determiner and its adjective, from an object to its verb, from a pronoun to its
antecedent.
"""

import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from aero_helpers.shift import require_one_model

SCENES = Path(__file__).parent / "scenes.txt"
KINDS = ("determiner–noun", "adjective–noun", "verb–object", "pronoun–antecedent")


@dataclass(frozen=True)
class Link:
    """kind: one of KINDS; earlier and later: the two words' places in the text, (start, end).

    Raises ValueError for another kind, and for words that do not follow each other.
    """

    kind: str
    earlier: tuple
    later: tuple

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {self.kind!r}")
        if not self.earlier[0] < self.earlier[1] <= self.later[0] < self.later[1]:
            raise ValueError(f"link: expected the earlier word before the later, got {self.earlier} and {self.later}")


@dataclass(frozen=True)
class Scene:
    """A short text of a few sentences, and the links in it."""

    text: str
    links: tuple


def read_scenes(path=SCENES):
    """The scenes of a file written as `scenes.txt` is, which begins by saying how.

    Raises ValueError for a line without its five columns and for a link whose words are not there.
    """
    lines = [line for line in Path(path).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return [_scene(list(block)) for filled, block in groupby(lines, key=lambda line: bool(line.strip())) if filled]


def _scene(lines):
    text, links = "", []
    for line in lines:
        sentence, *columns = (column.strip() for column in line.split("|"))
        if len(columns) != len(KINDS):
            raise ValueError(f"line: expected a sentence and {len(KINDS)} columns of links, got {line!r}")
        start = len(text) + 1 if text else 0
        text = f"{text} {sentence}".strip()
        for kind, column in zip(KINDS, columns):
            links += [_link(kind, pair, text, start) for pair in column.split(",") if pair.strip()]
    return Scene(text, tuple(links))


def _link(kind, pair, text, sentence_start):
    """Find "earlier later" or "earlier later#2" at the end of the scene so far."""
    written = re.fullmatch(r"\s*(\S+) ([^\s#]+)(?:#([1-9]))?\s*", pair)
    if not written:
        raise ValueError(f"link: expected 'earlier later' or 'earlier later#2', got {pair.strip()!r}")
    earlier, later, number = written.groups()
    laters = [place for place in _places(later, text) if place[0] >= sentence_start]
    n = int(number or 1)
    earliers = [place for place in _places(earlier, text) if len(laters) >= n and place[1] <= laters[n - 1][0]]
    if not earliers:
        raise ValueError(f"link: expected the words {pair.strip()!r} in this order, got {text!r}")
    return Link(kind, earliers[-1], laters[n - 1])


def _places(word, text):
    return [match.span() for match in re.finditer(rf"\b{re.escape(word)}\b", text)]


def link_table(records, scenes):
    """How much of each head's non-sink weight lies on the links: a pandas table.

    One row a (text, kind, layer, head), `records[i]` being the record of `scenes[i]`:
        n_links    links counted; those to a word that contains key 0 are not
        weight     weight from the later word to the earlier one, summed over the links
        expected   the same for a head that looks by distance alone: for each link, the head's mean
                   share at that distance over all queries of all scenes, times the row's non-sink
                   weight
        non_sink   the rows' weight on all keys but key 0, summed over the links
    Shares are ratios of sums: `link_shares` makes them. A word of several tokens counts as in Clark
    et al. 2019 (arXiv 1906.04341): attention to it is summed over its tokens, attention from it is
    their mean.

    Raises ValueError where records and scenes do not belong together.
    """
    records, scenes = list(records), list(scenes)
    require_one_model(records)
    texts = ["".join(record.tokens) for record in records]
    if not texts or texts != [scene.text for scene in scenes]:
        raise ValueError(
            f"records: expected one of each of {len(scenes)} scenes, in their order, got {texts}"
            " (letters that are cut into several tokens cannot be placed in the text)"
        )
    weights = [_non_sink(record) for record in records]
    by_distance = _share_by_distance(weights)
    rows = [
        _link_rows(i, kind, record, scene, matrices, by_distance)
        for i, (record, scene, matrices) in enumerate(zip(records, scenes, weights))
        for kind in KINDS
    ]
    return pd.concat(rows, ignore_index=True)


def link_shares(links):
    """`link_table` added up over its texts: one row a (kind, layer, head), with `share` and `expected_share`."""
    sums = links.groupby(["kind", "layer", "head"], as_index=False).sum().drop(columns="text")
    return sums.assign(share=sums.weight / sums.non_sink, expected_share=sums.expected / sums.non_sink)


def _non_sink(record):
    """The attention weights without key 0, float64 [layer, head, query, key]."""
    weights = record.weights().double().numpy()
    weights[..., 0] = 0
    return weights


def _share_by_distance(weights):
    """Of a head's non-sink weight, the mean share on the key d tokens back: [layer, head, d]."""
    longest = max(matrices.shape[-1] for matrices in weights)
    on_key, in_all = np.zeros((2, *weights[0].shape[:2], longest))
    for matrices in weights:
        n_tokens = matrices.shape[-1]
        row_sums = matrices.sum(-1)
        for d in range(n_tokens - 1):  # key 0 is left out, so the farthest key is key 1
            on_key[..., d] += matrices.diagonal(-d, -2, -1)[..., 1:].sum(-1)
            in_all[..., d] += row_sums[..., d + 1 :].sum(-1)
    return np.divide(on_key, in_all, out=np.zeros_like(on_key), where=in_all > 0)


def _link_rows(i, kind, record, scene, matrices, by_distance):
    sums = np.zeros((4, *matrices.shape[:2]))
    for link in (link for link in scene.links if link.kind == kind):
        queries, keys = (_tokens_in(place, record.tokens) for place in (link.later, link.earlier))
        if not queries or not keys:
            raise ValueError(f"link: expected places of words in {scene.text!r}, got {link}")
        if 0 in keys:
            continue
        rows = matrices[:, :, queries]  # [layer, head, query of the link, key]
        non_sink = rows.sum(-1)
        share = by_distance[..., np.subtract.outer(queries, keys)].sum(-1)
        sums += [
            np.ones_like(sums[0]),
            rows[..., keys].sum(-1).mean(-1),
            (share * non_sink).mean(-1),
            non_sink.mean(-1),
        ]
    layers, heads = np.indices(matrices.shape[:2]).reshape(2, -1)
    columns = dict(zip(("n_links", "weight", "expected", "non_sink"), sums.reshape(4, -1)))
    return pd.DataFrame({"text": i, "kind": kind, "layer": layers, "head": heads} | columns)


def _tokens_in(place, tokens):
    """The numbers of the tokens that share letters with text[start:end], blanks apart."""
    ends = np.cumsum([len(token) for token in tokens])
    starts = [end - len(token.lstrip(" ")) for end, token in zip(ends, tokens)]
    return [i for i, (start, end) in enumerate(zip(starts, ends)) if start < place[1] and end > place[0]]
