"""Level, position, content: against sums written out, where the parts are known, and under what must not matter."""

import numpy as np
import pytest
import torch

import aero_helpers as aero
from aero_helpers import interventions
from aero_helpers.parts import without_level

N_LAYERS, N_HEADS, T = 2, 3, 9


def made(n_records, *, level=0.0, position=None, content=0.0, seed=0, n_tokens=T):
    """Records whose parts are put in by hand: a level a row, a profile, noise; sizes in the unit of the scores."""
    generator = torch.Generator().manual_seed(seed)
    records = []
    for _ in range(n_records):
        shape = (N_LAYERS, N_HEADS, n_tokens, n_tokens)
        scores = level * torch.randn(shape[:3], generator=generator)[..., None].expand(shape)
        if position is not None:
            scores = scores + position[..., :n_tokens, :n_tokens]
        scores = scores + content * torch.randn(shape, generator=generator)
        records.append(aero.AttentionRecord(["a"] * n_tokens, scores, 4, "made"))
    return records


@pytest.fixture(scope="module")
def ramp():
    return without_level(torch.arange(float(T)).expand(N_LAYERS, N_HEADS, T, T))


@pytest.fixture(scope="module")
def windows(mini):
    """(records to estimate on, records to measure on) of mini, whole context, no sentence in both."""
    scenes = aero.read_scenes()
    return tuple(
        [mini.record(text, truncate=True) for text in aero.shuffled_texts(half, n)]
        for half, n in ((scenes[::2], 24), (scenes[1::2], 6))
    )


def test_a_profile_is_the_mean_of_centred_rows_written_out(record):
    other = aero.AttentionRecord(record.tokens, record.raw_scores.flip(1) * 0.5, record.head_size, record.model_name)
    profile = aero.position_profile(iter([record, other]))
    assert profile.shape == record.raw_scores.shape and profile.dtype == torch.float32
    for query in (0, 1, 7):
        rows = [each.raw_scores[3, 2, query, : query + 1].double() for each in (record, other)]
        expected = sum(row - row.mean() for row in rows) / 2
        assert profile[3, 2, query, : query + 1].numpy() == pytest.approx(expected.numpy(), abs=1e-4)
        assert (profile[3, 2, query, query + 1 :] == 0).all()


def test_the_parts_of_one_head_written_out(record):
    profile = aero.position_profile([record]) * 0.7
    row = aero.part_table([record], profile).set_index(["layer", "head"]).loc[(2, 1)]
    level = position_left = total = n = 0
    scores = record.raw_scores[2, 1].double().numpy()
    for query in range(1, record.n_tokens):
        past = scores[query, : query + 1]
        total += (past**2).sum()
        level += len(past) * past.mean() ** 2
        position_left += ((past - past.mean() - profile[2, 1, query, : query + 1].numpy()) ** 2).sum()
        n += len(past)
    assert row.level == pytest.approx(level / total) and row.content == pytest.approx(position_left / total, abs=1e-6)
    assert row.mean_square == pytest.approx(total / n)


def test_shares_sum_to_one_and_columns_are_as_promised(windows):
    estimated, measured = windows
    table = aero.part_table(measured, aero.position_profile(estimated))
    assert list(table.columns) == ["layer", "head", "level", "position", "content", "mean_square"]
    assert len(table) == 24
    assert table[["level", "position", "content"]].sum(axis=1).to_numpy() == pytest.approx(1)
    assert (table.level.between(0, 1)).all() and (table.content > 0).all()


@pytest.mark.parametrize(
    ("made_of", "expected"),
    [
        ({"level": 2.0}, (1, 0, 0)),
        ({"position": True}, (0, 1, 0)),
        ({"content": 2.0}, (None, 0, None)),
    ],
)
def test_what_is_put_in_comes_out(ramp, made_of, expected):
    made_of = made_of | ({"position": ramp} if "position" in made_of else {})
    profile = aero.position_profile(made(400, seed=1, **made_of))
    pooled = aero.pooled_parts(aero.part_table(made(50, seed=2, **made_of), profile))
    for share, want in zip(pooled, expected):
        if want is not None:
            assert share == pytest.approx(want, abs=0.01)


def test_parts_mixed_in_known_sizes(ramp):
    """Level 2, content 1, a ramp: the shares follow from the sizes."""
    profile = aero.position_profile(made(2000, level=2.0, position=ramp, content=1.0, seed=3))
    pooled = aero.pooled_parts(aero.part_table(made(400, level=2.0, position=ramp, content=1.0, seed=4), profile))
    n_keys = torch.arange(2.0, T + 1)
    n = n_keys.sum()
    position = (ramp[0, 0, 1:] ** 2).sum() / n
    in_level = 4 + (1 / n_keys * n_keys).sum() / n  # the mean of a row's noise is level, too
    content = ((n_keys - 1) / n_keys * n_keys).sum() / n
    total = position + in_level + content
    assert pooled.level == pytest.approx((in_level / total).item(), abs=0.01)
    assert pooled.position == pytest.approx((position / total).item(), abs=0.01)


def test_a_profile_of_the_measured_texts_flatters_itself(ramp):
    """Why the profile must come from other texts: with 4 of its own, a quarter of pure content passes for position."""
    records = made(4, content=1.0, seed=5)
    own = aero.pooled_parts(aero.part_table(records, aero.position_profile(records)))
    other = aero.pooled_parts(aero.part_table(records, aero.position_profile(made(4, content=1.0, seed=6))))
    assert own.position / (own.position + own.content) == pytest.approx(0.25, abs=0.05)
    assert other.position < 0


def test_nothing_changes_when_nothing_changes(windows):
    """A constant added to rows moves level and total alone; a rotation of q and k leaves every score, so every part."""
    estimated, measured = windows
    profile = aero.position_profile(estimated[:4])
    table = aero.part_table(measured[:2], profile)
    lifted = [interventions.changed_record(record, lambda s, _: s + 50) for record in measured[:2]]
    lifted_table = aero.part_table(lifted, profile)
    for part in ("position", "content"):
        before, after = table[part] * table.mean_square, lifted_table[part] * lifted_table.mean_square
        assert after.to_numpy() == pytest.approx(before.to_numpy(), rel=1e-3, abs=1e-3 * before.abs().max())


def test_a_shorter_record_needs_no_other_profile(windows):
    """No token looks ahead: the first 64 rows of a profile are the profile of the first 64 tokens."""
    estimated, measured = windows
    whole = aero.position_profile(estimated[:3])
    short = aero.position_profile(record.first(64) for record in estimated[:3])
    assert torch.allclose(whole[..., :64, :64], short, atol=1e-4)
    tables = [aero.part_table([measured[0].first(64)], profile) for profile in (whole, short)]
    assert tables[0].to_numpy() == pytest.approx(tables[1].to_numpy(), abs=1e-5)


def test_pooling_weights_heads_by_their_squares(record):
    table = aero.part_table([record], aero.position_profile([record]))
    pooled = aero.pooled_parts(table)
    past = aero.causal_mask(record.n_tokens)[1:]
    scores = (record.raw_scores.double()[..., 1:, :] * past) ** 2
    visible = without_level(record.raw_scores.double())[..., 1:, :] ** 2
    assert pooled.level == pytest.approx(1 - (visible.sum() / scores.sum()).item())
    of_layer = aero.pooled_parts(table, by="layer")
    assert of_layer.level[4] == pytest.approx(1 - (visible[4].sum() / scores[4].sum()).item())


def test_what_does_not_fit_is_refused(record, mini):
    profile = aero.position_profile([record])
    with pytest.raises(ValueError, match="expected at least one AttentionRecord, got none"):
        aero.position_profile([])
    with pytest.raises(TypeError, match="expected an AttentionRecord, got str"):
        aero.position_profile(["text"])
    with pytest.raises(ValueError, match="expected records of one length"):
        aero.position_profile([record, record.first(5)])
    with pytest.raises(ValueError, match="expected records of one model"):
        aero.part_table([record, made(1)[0]], profile)
    with pytest.raises(TypeError, match="profile: expected what position_profile returns, got list"):
        aero.part_table([record], [record])
    for wrong in (profile[0], profile * torch.nan, profile[..., :5, :]):
        for use in (interventions.position_alone, lambda p: aero.part_table([record], p)):
            with pytest.raises(ValueError, match=r"profile: expected finite numbers \[layer, head, T, T\]"):
                use(wrong)
    with pytest.raises(ValueError, match="profile: expected one of the model's layers, 4 among them"):
        interventions.content_alone(profile[:2])(record.raw_scores[4][None], 4)
    with pytest.raises(ValueError, match=f"T at least {record.n_tokens}, got"):
        aero.part_table([record], profile[..., :5, :5])
    with pytest.raises(ValueError, match=r"profile: expected \[6, 4, T, T\]"):
        aero.part_table([record], profile[:3])
    with pytest.raises(ValueError, match="2 tokens or more, got one of 1"):
        aero.part_table([record.first(1)], profile)
    with pytest.raises(ValueError, match="expected at least one AttentionRecord, got none"):
        aero.part_table([], profile)


def test_the_model_runs_on_its_parts(mini, windows):
    """Without the level nothing changes; without any other part the model predicts worse; without all, worst."""
    profile = aero.position_profile(windows[0])
    texts = aero.shuffled_texts(aero.read_scenes()[1::2], 4)

    def loss(change):
        with mini.intervene(change):
            return np.mean([mini.loss(text, truncate=True) for text in texts])

    before = np.mean([mini.loss(text, truncate=True) for text in texts])
    assert loss(without_level) == pytest.approx(before, abs=1e-3)
    position, content = (
        loss(change(profile)) for change in (interventions.position_alone, interventions.content_alone)
    )
    uniform = loss(interventions.level_alone)
    assert before + 0.3 < position < content < uniform


def test_level_position_content_add_up_within_the_model(mini, record, windows):
    """position_alone + content_alone = without_level, score by score."""
    profile = aero.position_profile(windows[0])
    for layer in (None, 3):
        scores = record.raw_scores if layer is None else record.raw_scores[layer][None]
        parts = [
            change(profile)(scores, layer) for change in (interventions.position_alone, interventions.content_alone)
        ]
        assert torch.allclose(sum(parts), without_level(scores), atol=1e-3)
    with pytest.raises(ValueError, match=f"texts of {record.n_tokens} tokens or more"):
        interventions.position_alone(profile[..., :4, :4])(record.raw_scores[0][None], 0)
    with pytest.raises(ValueError, match="expected one of the heads"):
        interventions.content_alone(profile[:, :2])(record.raw_scores[0][None], 0)


def test_science_on_novels_nobody_trained_on(mini, shared):
    """The shares hold on other texts than the course's: novels, one of them never seen in training."""
    folder = shared.parent / "corpus"
    if not folder.is_dir():
        pytest.skip(f"no novels at {folder}")

    def windows_of(name, n):
        text = " ".join((folder / name).read_text(encoding="utf-8").split())
        return [
            mini.record(text[start : start + 3000], truncate=True) for start in range(20000, 20000 + n * 9000, 9000)
        ]

    estimated = [
        r for name in ("emma.txt", "dracula.txt", "treasure-island.txt", "white-fang.txt") for r in windows_of(name, 8)
    ]
    profile, measured = aero.position_profile(estimated), windows_of("time-machine.txt", 8)
    for n, level, position in ((16, 0.98, 0.39), (64, 0.93, 0.78), (128, 0.79, 0.88), (256, 0.40, 0.91)):
        pooled = aero.pooled_parts(aero.part_table([record.first(n) for record in measured], profile))
        assert pooled.level == pytest.approx(level, abs=0.03)
        assert pooled.position / (pooled.position + pooled.content) == pytest.approx(
            position, abs=0.15 if n == 16 else 0.05
        )
