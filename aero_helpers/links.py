"""Grammatical links: do heads look at them, beyond what the distance alone would give?

The scenes in `scenes.txt` were written for this course, with four kinds of links marked: from a
noun back to its determiner and its adjective, from an object to its verb, from a pronoun to its
antecedent. In them the right word is nearly always the nearest of its kind, so a head that looks at
the nearest determiner passes for one that knows grammar. The sentences in `rivals.txt` tell the two
apart: each link has a rival, another word of the same kind, which stands nearer in half of them.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from aero_helpers.arrays import heads_of
from aero_helpers.recording import AttentionRecord, of_one_model
from aero_helpers.require import is_whole, require_count, require_kind, require_no_gap, require_several, require_table

SCENES = Path(__file__).parent / "scenes.txt"
RIVALS = Path(__file__).parent / "rivals.txt"
HEADS = ("kind", "layer", "head")
KINDS = ("determiner–noun", "adjective–noun", "verb–object", "pronoun–antecedent")


@dataclass(frozen=True)
class Link:
    """kind: one of KINDS; earlier, later: the two words' places in the text, (start, end); rival: another word's
    of the earlier one's kind, before the later one too, or None.

    Raises ValueError for another kind, and for words that do not follow each other.
    """

    kind: str
    earlier: tuple[int, int]
    later: tuple[int, int]
    rival: tuple[int, int] | None = None

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {self.kind!r}")
        if not self.earlier[0] < self.earlier[1] <= self.later[0] < self.later[1]:
            raise ValueError(f"link: expected the earlier word before the later, got {self.earlier} and {self.later}")
        if self.rival and not self.rival[0] < self.rival[1] <= self.later[0]:
            raise ValueError(f"link: expected a rival before the later word, got {self.rival} and {self.later}")
        if self.rival and self.rival[0] < self.earlier[1] and self.earlier[0] < self.rival[1]:
            raise ValueError(f"link: expected a rival other than the right word, got {self.rival} and {self.earlier}")


@dataclass(frozen=True)
class Scene:
    """A short text of a few sentences, and the links in it."""

    text: str
    links: tuple

    @property
    def sentences(self) -> list[str]:
        """The text's sentences, in their order."""
        return re.split(r"(?<=[.!?]) ", self.text)


def read_scenes(path: str | os.PathLike = SCENES) -> list[Scene]:
    """The scenes of a file written as `scenes.txt` is, which begins by saying how.

    Raises FileNotFoundError; ValueError for another encoding than UTF-8, for a line without its five columns and for a
    link whose words are not there.

    >>> scenes = read_scenes()
    >>> len(scenes), scenes[0].text[:40]
    (16, 'The old sailor walked slowly down to the')
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: expected a file of scenes, found none")
    try:
        text = Path(path).read_text(encoding="utf-8-sig")  # Windows' editors begin a file with a mark
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: expected UTF-8, got another encoding ({error.reason} at byte {error.start}); save the file as"
            ' "UTF-8", in Notepad under "Save as"'
        ) from error
    lines = [line for line in text.splitlines() if not line.startswith("#")]
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
    """Find "earlier later", "earlier later#2" or "earlier later ~ rival" at the end of the scene so far."""
    written = re.fullmatch(r"\s*(\S+) ([^\s#]+)(?:#([1-9]))?(?: ~ (\S+))?\s*", pair)
    if not written:
        raise ValueError(
            f"link: expected 'earlier later', 'earlier later#2' or 'earlier later ~ rival', got {pair.strip()!r}"
        )
    earlier, later, number, rival = written.groups()
    laters = [place for place in _places(later, text) if place[0] >= sentence_start]
    n = int(number or 1)
    before = [
        [place for place in _places(word, text) if len(laters) >= n and place[1] <= laters[n - 1][0]]
        for word in (earlier, rival)
        if word
    ]
    if not all(before):
        raise ValueError(f"link: expected the words {pair.strip()!r} in this order, got {text!r}")
    return Link(kind, before[0][-1], laters[n - 1], *(places[-1] for places in before[1:]))


def _places(word, text):
    return [match.span() for match in re.finditer(rf"\b{re.escape(word)}\b", text)]


def shuffled_texts(scenes: Iterable[Scene], n_texts: int, seed: int = 0) -> list[str]:
    """Longer texts from short scenes: the sentences of all of them, each time in another random order.

    What a sentence says then stands at every place in turn, so that the mean over such texts depends on places
    alone (`position_profile`). Texts from disjoint scenes share no sentence. The same seed gives the same texts.

    >>> texts = shuffled_texts(read_scenes(), 2)
    >>> len(texts), texts[0][:40]
    (2, 'The farmer sold the white horse in the s')
    """
    require_count("n_texts", n_texts)
    if not is_whole(seed) or seed < 0:
        raise ValueError(f"seed: expected a whole number of at least 0, got {seed!r:.80}")
    generator = np.random.default_rng(seed)
    sentences = [sentence for scene in _scenes(scenes) for sentence in scene.sentences]
    if not sentences:
        raise ValueError("scenes: expected at least one, got none")
    return [" ".join(generator.permutation(sentences)) for _ in range(n_texts)]


def link_table(records: Iterable[AttentionRecord], scenes: Iterable[Scene]) -> pd.DataFrame:
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

    >>> import aero_helpers as aero
    >>> lm, scenes = aero.load("mini"), aero.read_scenes()[:5]
    >>> list(aero.link_table([lm.record(scene.text) for scene in scenes], scenes))
    ['text', 'kind', 'layer', 'head', 'n_links', 'weight', 'expected', 'non_sink']
    """
    records, scenes = _that_belong_together(records, scenes)
    weights = [_non_sink(record) for record in records]
    by_distance = _share_by_distance(weights)
    rows = [
        _link_rows(i, kind, record, scene, matrices, by_distance)
        for i, (record, scene, matrices) in enumerate(zip(records, scenes, weights))
        for kind in KINDS
    ]
    return pd.concat(rows, ignore_index=True)


def link_shares(links: pd.DataFrame) -> pd.DataFrame:
    """`link_table` added up over its texts: one row a (kind, layer, head), with `share` and `expected_share`.

    >>> import aero_helpers as aero
    >>> lm, scenes = aero.load("mini"), aero.read_scenes()[:5]
    >>> list(aero.link_shares(aero.link_table([lm.record(scene.text) for scene in scenes], scenes)))
    ['kind', 'layer', 'head', 'n_links', 'weight', 'expected', 'non_sink', 'share', 'expected_share']
    """
    require_table("links", links, ("text", *HEADS, "weight", "expected", "non_sink"))
    require_no_gap("links", links, list(links))
    sums = links.groupby(list(HEADS), as_index=False).sum().drop(columns="text")
    return sums.assign(share=sums.weight / sums.non_sink, expected_share=sums.expected / sums.non_sink)


def rival_table(records: Iterable[AttentionRecord], scenes: Iterable[Scene]) -> pd.DataFrame:
    """How each link that has a rival is decided in each head: a pandas table, a row a (text, kind, layer, head).

    One row for each such link, `records[i]` being the record of `scenes[i]`:
        rival_is_nearer  whether the rival stands nearer to the later word than the right word does
        own, rival       weight from the later word to the right word and to its rival
        non_sink         the row's weight on all keys but key 0
    Words of several tokens as in `link_table`. Raises ValueError where records and scenes do not belong together,
    and where a word of such a link contains key 0.

    >>> import aero_helpers as aero
    >>> lm, sentences = aero.load("mini"), aero.read_scenes(RIVALS)[:4]
    >>> list(aero.rival_table([lm.record(sentence.text) for sentence in sentences], sentences))
    ['text', 'kind', 'rival_is_nearer', 'layer', 'head', 'own', 'rival', 'non_sink']
    """
    rows = []
    for i, (record, scene) in enumerate(zip(*_that_belong_together(records, scenes))):
        weights = _non_sink(record)
        for link in (link for link in scene.links if link.rival):
            places = link.later, link.earlier, link.rival
            queries, own, rival = (_tokens_in(place, record.tokens) for place in places)
            if not queries or not own or not rival:
                raise ValueError(f"link: expected places of words in {scene.text!r}, got {link}")
            if 0 in own + rival:
                raise ValueError(f"link: expected no word of {scene.text!r} at key 0, got {link}")
            of_link = weights[:, :, queries].mean(2)  # [layer, head, key]
            sums = (of_link[..., own].sum(-1), of_link[..., rival].sum(-1), of_link.sum(-1))
            columns = dict(zip(("own", "rival", "non_sink"), (each.ravel() for each in sums)))
            nearer = link.rival[0] > link.earlier[0]
            named = {"text": i, "kind": link.kind, "rival_is_nearer": nearer}
            rows.append(pd.DataFrame(named | heads_of(record.shape) | columns))
    if not rows:
        raise ValueError("scenes: expected links with a rival (see rivals.txt), got none")
    return pd.concat(rows, ignore_index=True)


def rival_shares(rivals: pd.DataFrame) -> pd.DataFrame:
    """`rival_table` added up over its links: a row a (kind, rival_is_nearer, layer, head).

    own_share, rival_share: of the weight that does not fall on key 0; own_wins: links in which the right word
    gets more than its rival, of n_links.

    >>> import aero_helpers as aero
    >>> lm, sentences = aero.load("mini"), aero.read_scenes(RIVALS)[:4]
    >>> rivals = aero.rival_table([lm.record(sentence.text) for sentence in sentences], sentences)
    >>> list(aero.rival_shares(rivals))[4:]
    ['own', 'rival', 'non_sink', 'n_links', 'own_wins', 'own_share', 'rival_share']
    """
    require_table("rivals", rivals, ("text", *HEADS, "rival_is_nearer", "own", "rival", "non_sink"))
    require_no_gap("rivals", rivals, list(rivals))
    counted = rivals.assign(n_links=1, own_wins=rivals.own > rivals.rival)
    sums = counted.groupby(["kind", "rival_is_nearer", "layer", "head"], as_index=False).sum().drop(columns="text")
    return sums.assign(own_share=sums.own / sums.non_sink, rival_share=sums.rival / sums.non_sink)


def _scenes(scenes):
    require_several("scenes", scenes, "Scene")
    scenes = list(scenes)
    for scene in scenes:
        require_kind("scenes", scene, Scene)
    return scenes


def _that_belong_together(records, scenes):
    records, scenes = list(of_one_model(records)), _scenes(scenes)
    texts = ["".join(record.tokens) for record in records]
    if texts != [scene.text for scene in scenes]:
        raise ValueError(
            f"records: expected one of each of {len(scenes)} scenes, in their order, got {texts}"
            " (letters that are cut into several tokens cannot be placed in the text)"
        )
    return records, scenes


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
    columns = dict(zip(("n_links", "weight", "expected", "non_sink"), sums.reshape(4, -1)))
    return pd.DataFrame({"text": i, "kind": kind} | heads_of(matrices.shape[:2]) | columns)


def _tokens_in(place, tokens):
    """The numbers of the tokens that share letters with text[start:end], blanks apart."""
    ends = np.cumsum([len(token) for token in tokens])
    starts = [end - len(token.lstrip(" ")) for end, token in zip(ends, tokens)]
    return [i for i, (start, end) in enumerate(zip(starts, ends)) if start < place[1] and end > place[0]]
