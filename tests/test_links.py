import numpy as np
import pytest
import torch
from conftest import TEXT

import aero_helpers as aero
from aero_helpers.links import KINDS, RIVALS, SCENES, Link, Scene


@pytest.fixture(scope="module")
def scenes():
    return aero.read_scenes()


def words(scene, link):
    return tuple(scene.text[slice(*place)] for place in (link.earlier, link.later))


def test_there_are_sixty_sentences_and_every_kind_of_link(scenes):
    sentences = [line for line in SCENES.read_text(encoding="utf-8").splitlines() if "|" in line and line[0] != "#"]
    assert len(sentences) >= 60 and len(scenes) == 16
    assert all("".join(scene.text).isascii() for scene in scenes)
    for kind in KINDS:
        assert sum(link.kind == kind for scene in scenes for link in scene.links) >= 60


def test_links_point_backwards_to_the_nearest_place_of_the_earlier_word(scenes):
    for scene in scenes:
        for link in scene.links:
            earlier, later = words(scene, link)
            assert link.earlier[1] <= link.later[0]
            between = scene.text[link.earlier[1] : link.later[0]]
            assert earlier not in between.replace(".", " ").replace(",", " ").split(), (earlier, later)


def test_links_are_the_ones_that_are_meant(scenes):
    first = scenes[0]
    found = {(link.kind, *words(first, link)) for link in first.links}
    assert ("adjective–noun", "wooden", "box") in found and ("pronoun–antecedent", "sailor", "him") in found
    determiners = {words(scene, link)[0] for scene in scenes for link in scene.links if link.kind == KINDS[0]}
    assert {word.lower() for word in determiners} == {"the", "a", "an", "that"}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("The dog ran. | The dog", "expected a sentence and 4 columns"),
        ("The dog ran. | The cat | | |", "expected the words 'The cat' in this order"),
        ("The dog ran. | dog The | | |", "expected the words 'dog The' in this order"),
        ("The dog ran. | dog | | |", "expected 'earlier later', 'earlier later#2' or .*, got 'dog'"),
        ("The dog ran. | The dog#0 | | |", "or 'earlier later ~ rival', got 'The dog#0'"),
        ("The dog ran. | The dog ~ cat | | |", "expected the words 'The dog ~ cat' in this order"),
        ("The dog ran. | The dog ~ The | | |", "expected a rival other than the right word"),
        ("The dog ran. | The dog ~ ran | | |", "expected the words 'The dog ~ ran' in this order"),
        ("The dog ran. | The dog#2 | | |", "expected the words 'The dog#2' in this order"),
    ],
)
def test_a_line_that_does_not_fit_is_named(tmp_path, line, complaint):
    (tmp_path / "scenes.txt").write_text(line, encoding="utf-8")
    with pytest.raises(ValueError, match=complaint):
        aero.read_scenes(tmp_path / "scenes.txt")


def test_the_table_against_a_loop_over_tokens(mini, scenes):
    chosen = scenes[:3]
    records = [mini.record(scene.text) for scene in chosen]
    table = aero.link_table(records, chosen)
    layer, head, kind = 3, 2, "verb–object"
    rows = []  # (query, key, weight, the row's non-sink weight) of all pairs but those with key 0
    for record in records:
        weights = record.head_weights(layer, head).double().numpy()
        for q in range(1, record.n_tokens):
            rows += [(q - k, weights[q, k], weights[q, 1:].sum()) for k in range(1, q + 1)]
    d, w, s = np.array(rows).T
    by_distance = {i: w[d == i].sum() / s[d == i].sum() for i in np.unique(d)}
    for i, (record, scene) in enumerate(zip(records, chosen)):
        weights = record.head_weights(layer, head).double().numpy()
        ends = np.cumsum([len(token) for token in record.tokens])
        spans = [(end - len(token.strip()), end) for token, end in zip(record.tokens, ends)]
        n = weight = expected = non_sink = 0
        for link in (link for link in scene.links if link.kind == kind):
            inside = [
                [t for t, (start, end) in enumerate(spans) if a < end and start < b]
                for a, b in (link.later, link.earlier)
            ]
            if 0 in inside[1]:
                continue
            n += 1
            for q in inside[0]:
                share = weights[q, 1:].sum() / len(inside[0])
                weight += sum(weights[q, k] for k in inside[1]) / len(inside[0])
                expected += sum(by_distance[q - k] for k in inside[1]) * share
                non_sink += share
        row = table.query(f"text == {i} and kind == '{kind}' and layer == {layer} and head == {head}").iloc[0]
        assert [row.n_links, row.weight, row.expected, row.non_sink] == pytest.approx([n, weight, expected, non_sink])


def scene_of(tokens, *links):
    text = "".join(tokens)
    return Scene(text, tuple(Link("adjective–noun", earlier, later) for earlier, later in links))


def test_a_head_that_goes_by_distance_alone_has_exactly_what_distance_gives():
    tokens = ["x", " a", " b", " c", " d", " e"]
    scores = torch.zeros(1, 1, 6, 6) - 50
    for q in range(6):
        scores[..., q, max(q - 1, 0)] = 50  # the token before, always
    record = aero.AttentionRecord(tokens, scores, 1, "previous token")
    shares = aero.link_shares(aero.link_table([record], [scene_of(tokens, ((4, 5), (6, 7)))]))
    adjective = shares[shares.kind == "adjective–noun"].iloc[0]
    assert adjective.share == pytest.approx(1) and adjective.expected_share == pytest.approx(1)


def test_a_head_that_follows_the_links_stands_above_distance():
    tokens = ["x", " a", " b", " c", " d", " e"]
    scores = torch.zeros(1, 1, 6, 6)
    scores[..., 5, 2] = 30  # e looks at b; all others look everywhere
    record = aero.AttentionRecord(tokens, scores, 1, "one link")
    shares = aero.link_shares(aero.link_table([record], [scene_of(tokens, ((4, 5), (10, 11)))]))
    adjective = shares[shares.kind == "adjective–noun"].iloc[0]
    # distance 3: the link itself, and d's even look at a: (1 + 1/5) / (1 + 4/5)
    assert adjective.share > 0.99 and adjective.expected_share == pytest.approx(2 / 3, abs=1e-3)


def test_links_to_key_0_are_left_out_and_an_empty_kind_is_no_number():
    tokens = ["x", " a", " b"]
    record = aero.AttentionRecord(tokens, torch.zeros(1, 1, 3, 3), 1, "flat")
    table = aero.link_table([record], [scene_of(tokens, ((0, 1), (4, 5)))])
    assert (table.n_links == 0).all()
    assert aero.link_shares(table).share.isna().all()


def test_links_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match=r"kind: expected one of determiner–noun, .* got 'determiner-noun'"):
        Link("determiner-noun", (0, 1), (2, 3))
    for earlier, later in (((4, 5), (0, 1)), ((2, 2), (4, 5)), ((0, 3), (2, 5))):
        with pytest.raises(ValueError, match="expected the earlier word before the later"):
            Link("adjective–noun", earlier, later)
    record = aero.AttentionRecord(["x", " a"], torch.zeros(1, 1, 2, 2), 1, "flat")
    with pytest.raises(ValueError, match="expected places of words in 'x a'"):
        aero.link_table([record], [scene_of(["x", " a"], ((2, 3), (9, 12)))])


def test_letters_in_several_tokens_are_named(mini):
    text = "Ông già nhìn ra biển."
    with pytest.raises(ValueError, match="letters that are cut into several tokens cannot be placed"):
        aero.link_table([mini.record(text)], [Scene(text, ())])


def test_sums_over_texts_are_sums(mini, scenes):
    chosen = scenes[:3]
    table = aero.link_table([mini.record(scene.text) for scene in chosen], chosen)
    shares = aero.link_shares(table).set_index(["kind", "layer", "head"])
    rows = table.query("kind == 'verb–object' and layer == 4 and head == 1")
    found = shares.loc[("verb–object", 4, 1)]
    assert (
        found.n_links
        == rows.n_links.sum()
        == sum(link.kind == "verb–object" for scene in chosen for link in scene.links)
    )
    assert found.share == pytest.approx(rows.weight.sum() / rows.non_sink.sum())
    assert table.index.tolist() == list(range(len(table)))


def test_records_of_other_texts_are_refused(mini, scenes):
    with pytest.raises(ValueError, match="expected one of each of 1 scenes"):
        aero.link_table([mini.record(TEXT)], scenes[:1])
    with pytest.raises(ValueError, match="expected at least one AttentionRecord, got none"):
        aero.link_table([], [])


@pytest.fixture(scope="module")
def sentences():
    return aero.read_scenes(RIVALS)


def test_each_kind_has_sixty_rivals_half_of_them_nearer(sentences):
    links = [link for scene in sentences for link in scene.links]
    assert all(len(scene.links) == 1 for scene in sentences) and all(link.rival for link in links)
    assert len({scene.text for scene in sentences}) == len(sentences)
    for kind in KINDS:
        nearer = [link.rival[0] > link.earlier[0] for link in links if link.kind == kind]
        assert len(nearer) >= 60 and sum(nearer) == len(nearer) / 2


def test_pairs_of_sentences_have_the_same_words_in_another_order(sentences):
    for near, far in zip(sentences[::2], sentences[1::2]):
        (one,), (other,) = near.links, far.links
        assert one.kind == other.kind
        for place in ("earlier", "later", "rival"):
            words = [s.text[slice(*getattr(link, place))].lower() for s, link in ((near, one), (far, other))]
            assert words[0] == words[1]
        assert one.rival[0] < one.earlier[0] and other.rival[0] > other.earlier[0]


def test_the_table_of_rivals_against_a_loop(mini, sentences):
    chosen = sentences[40:44]
    records = [mini.record(scene.text) for scene in chosen]
    table = aero.rival_table(records, chosen).set_index(["text", "layer", "head"])
    for i, (record, scene) in enumerate(zip(records, chosen)):
        weights = record.head_weights(3, 3).double().numpy()
        ends = np.cumsum([len(token) for token in record.tokens])
        spans = [(end - len(token.strip()), end) for token, end in zip(record.tokens, ends)]
        inside = lambda a, b: [t for t, (start, end) in enumerate(spans) if a < end and start < b]  # noqa: B023, E731
        (link,) = scene.links
        queries = inside(*link.later)
        row = table.loc[(i, 3, 3)]
        assert row.own == pytest.approx(np.mean([weights[q, inside(*link.earlier)].sum() for q in queries]))
        assert row.rival == pytest.approx(np.mean([weights[q, inside(*link.rival)].sum() for q in queries]))
        assert row.non_sink == pytest.approx(np.mean([weights[q, 1:].sum() for q in queries]))
        assert row.rival_is_nearer == (i % 2 == 1)
    shares = aero.rival_shares(table.reset_index()).set_index(["rival_is_nearer", "layer", "head"])
    near = table.loc[[(0, 3, 3), (2, 3, 3)]]
    assert shares.loc[(False, 3, 3)].own_share == pytest.approx(near.own.sum() / near.non_sink.sum())
    assert (
        shares.loc[(False, 3, 3)].n_links == 2 and shares.loc[(False, 3, 3)].own_wins == (near.own > near.rival).sum()
    )


def test_links_without_a_rival_and_rivals_at_key_0_are_refused(mini, scenes):
    with pytest.raises(ValueError, match=r"expected links with a rival \(see rivals.txt\), got none"):
        aero.rival_table([mini.record(scenes[0].text)], scenes[:1])
    beyond = Scene("He saw dogs.", (Link("verb–object", (3, 6), (40, 44), (7, 11)),))
    with pytest.raises(ValueError, match="expected places of words in 'He saw dogs"):
        aero.rival_table([mini.record(beyond.text)], [beyond])
    with pytest.raises(ValueError, match="expected a rival other than the right word"):
        Link("verb–object", (3, 6), (7, 11), (4, 6))
    with pytest.raises(ValueError, match="scenes: expected at least one, got none"):
        aero.shuffled_texts([], 2)
    at_0 = Scene("Dogs saw dogs.", (Link("verb–object", (5, 8), (9, 13), (0, 4)),))
    with pytest.raises(ValueError, match=r"expected no word of 'Dogs saw dogs\.' at key 0"):
        aero.rival_table([mini.record(at_0.text)], [at_0])


def test_minis_head_looks_at_the_nearest_determiner_not_at_the_nouns_own(mini, sentences):
    """What lesson 04c finds, and what a comparison with distance alone does not."""
    chosen = [scene for scene in sentences if scene.links[0].kind == "determiner–noun"]
    shares = aero.rival_shares(aero.rival_table([mini.record(scene.text) for scene in chosen], chosen))
    head = shares[(shares.layer == 3) & (shares["head"] == 3)].set_index("rival_is_nearer")
    assert head.own_share[False] > 0.6 and head.own_wins[False] == 32
    assert head.own_share[True] < 0.05 < 0.2 < head.rival_share[True] and head.own_wins[True] == 0


def test_shuffled_texts_hold_every_sentence_once_and_are_the_same_each_time(scenes):
    texts = aero.shuffled_texts(scenes[:3], 5)
    sentences = sorted(sentence for scene in scenes[:3] for sentence in scene.sentences)
    assert len(sentences) == 12 and len(set(texts)) == 5
    assert all(sorted(Scene(text, ()).sentences) == sentences for text in texts)
    assert texts == aero.shuffled_texts(scenes[:3], 5) != aero.shuffled_texts(scenes[:3], 5, seed=1)


def test_minis_best_head_against_distance_alone_is_found_again(mini, scenes):
    """The numbers that notebook 04c speaks of."""
    shares = aero.link_shares(aero.link_table([mini.record(scene.text) for scene in scenes], scenes))
    best = shares.loc[shares[shares.kind == "determiner–noun"].share.idxmax()]
    assert (best.layer, best["head"]) == (3, 3)
    assert best.share == pytest.approx(0.75, abs=0.01) and best.expected_share == pytest.approx(0.16, abs=0.01)
