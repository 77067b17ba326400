import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks
from scipy.stats import gaussian_kde

import aero_helpers as aero
from aero_helpers import exercises
from aero_helpers.checking import Course, Exercise, Prediction
from aero_helpers.exercises import check, inputs

CHECKERS = check.checkers
EXERCISES = {name: value for name, value in CHECKERS.items() if isinstance(value, Exercise)}
PREDICTIONS = {name: value for name, value in CHECKERS.items() if isinstance(value, Prediction)}
MENDED = {name: value for name, value in EXERCISES.items() if value.given}
MISTAKES = [(name, *mistake) for name, checker in CHECKERS.items() for mistake in checker.mistakes]
LESSONS = ("01", "02", "03", "04", "04b", "04c", "05", "06", "07", "08")
MOST = {"08": 10}  # a museum has an exercise an exhibit; a lesson has 5 at most


@pytest.fixture(autouse=True)
def both_languages():
    aero.set_language("both")
    yield
    aero.set_language("both")


@pytest.mark.parametrize("name", EXERCISES)
def test_a_tuple_is_no_tensor_and_a_tensor_no_tuple(name):
    right = EXERCISES[name].right
    wrapped = lambda *args: (right(*args),) if not isinstance(right(*args), tuple) else right(*args)[0]  # noqa: E731
    assert EXERCISES[name](wrapped).state == "wrong"


class NoType:
    dtype = property(lambda self: {}["x"])


def test_an_answer_whose_type_raises_is_taken_with_grace():
    assert check.key_bias_part(lambda q, b_k: NoType()).state == "wrong"


def test_a_head_size_written_into_the_code_is_found_out():
    fixed = lambda x, n: x.unflatten(-1, (n, 12)).transpose(0, 1).split(4, -1)  # noqa: E731
    assert not check.split_gpt_neox(fixed)


@pytest.mark.parametrize("name", EXERCISES)
def test_the_right_answer_passes(name):
    verdict = EXERCISES[name](EXERCISES[name].right)
    assert verdict and verdict.state == "right"


@pytest.mark.parametrize(("name", "mistake", "vi", "en"), MISTAKES)
def test_each_usual_mistake_is_recognised_by_name(name, mistake, vi, en):
    verdict = CHECKERS[name](mistake)
    assert not verdict
    assert vi in verdict.message and en in verdict.message


@pytest.mark.parametrize("lesson", LESSONS)
def test_each_lesson_has_a_prediction_a_mistake_to_find_and_three_to_five_exercises(lesson):
    of_lesson = [name for name, checker in CHECKERS.items() if checker.lesson == lesson]
    assert 3 <= len(of_lesson) <= MOST.get(lesson, 5)
    assert set(of_lesson) & set(PREDICTIONS) and set(of_lesson) & set(MENDED)
    assert {checker.lesson for checker in CHECKERS.values()} == set(LESSONS)


@pytest.mark.parametrize("name", MENDED)
def test_given_code_runs_is_wrong_and_is_not_spoilt_by_its_hint(name):
    verdict = MENDED[name](MENDED[name].given)
    assert verdict.state == "not attempted" and "given code" in verdict.message


@pytest.mark.parametrize("name", PREDICTIONS)
def test_a_right_prediction_is_taken_in_any_dress(name):
    right = PREDICTIONS[name].right
    dresses = [right]
    if isinstance(right, str):
        dresses += [right.upper(), f" {right} "]
    else:
        dresses += [torch.as_tensor(right), np.asarray(right)]
        dresses += [list(right)] if isinstance(right, tuple) else [[right]]
    for dressed in dresses:
        assert PREDICTIONS[name](dressed), dressed


def test_rows_may_be_predicted_as_a_set_or_a_range():
    assert check.rows_that_change({3, 1, 2}) and check.rows_that_change(range(1, 4))


@pytest.mark.parametrize("name", PREDICTIONS)
def test_a_prediction_not_made_is_not_an_attempt(name):
    for stub in (..., None, [...], (..., ..., ...)):
        assert PREDICTIONS[name](stub).state == "not attempted"


@pytest.mark.parametrize("name", PREDICTIONS)
def test_any_prediction_is_taken_with_grace(name):
    answers = [object(), Hostile(), {}, {1: 2}, {1, "a"}, [[1], [1, 2]], 3 + 4j, torch.nan, "", "?", b"x", lambda: 1]
    for answer in [*answers, float("inf"), np.zeros((2, 2)), torch.zeros(3, device="meta"), [], -1, True, 10**400]:
        verdict = PREDICTIONS[name](answer)
        assert verdict.state == "wrong" and len(verdict.message) < 600, answer
    vi, en = PREDICTIONS[name].kind
    assert vi in PREDICTIONS[name](object()).message and en in PREDICTIONS[name](object()).message


@pytest.mark.parametrize("name", EXERCISES)
@pytest.mark.parametrize("stub", [..., None, lambda *args: ..., lambda *args: None, lambda *args: (..., ..., ...)])
def test_a_stub_is_not_an_attempt(name, stub):
    verdict = EXERCISES[name](stub)
    assert verdict.state == "not attempted" and "return" in verdict.message


class Hostile:
    """An answer that raises at every touch."""

    def __array__(self, *args, **kwargs):
        raise KeyError("hostile")

    def __iter__(self):
        raise IndexError("hostile")


class Unspeakable(Exception):
    def __str__(self):
        raise ZeroDivisionError


def raise_unspeakable(*args):
    raise Unspeakable


@pytest.mark.parametrize("name", EXERCISES)
@pytest.mark.parametrize(
    "answer",
    [
        3,
        lambda: 1,
        lambda *args: 1 / 0,
        lambda *args: "text",
        lambda *args: {},
        lambda *args: [[1], [1, 2]],
        lambda *args: torch.full((5, 5), torch.nan),
        lambda *args: torch.zeros(0),
        lambda *args: np.array(["a"]),
        lambda *args: (torch.zeros(2), None),
        lambda *args: object(),
        lambda *args: Hostile(),
        lambda *args: exit(),
        raise_unspeakable,
        lambda *args: np.broadcast_to(np.int8(0), (10**6, 10**6)),
        lambda *args: torch.zeros(3, 3, device="meta"),
    ],
)
def test_any_answer_is_taken_with_grace(name, answer):
    verdict = EXERCISES[name](answer)
    assert verdict.state == "wrong"
    assert repr(verdict).startswith("✘") and "<div" in verdict._repr_html_()
    assert len(verdict.message) < 600


@pytest.mark.parametrize("name", EXERCISES)
def test_a_right_answer_in_another_dress(name):
    """Complex numbers and text are no answer, whatever they hold; lists and gradients are taken."""
    right = EXERCISES[name].right

    def dressed(change):
        def answer(*args):
            got = right(*args)
            return tuple(map(change, got)) if isinstance(got, tuple) else change(got)

        return EXERCISES[name](answer).state

    assert dressed(lambda x: torch.as_tensor(x) + 5j) == "wrong"
    assert dressed(lambda x: np.asarray(x).astype(str)) == "wrong"
    assert dressed(lambda x: torch.as_tensor(x).double().requires_grad_()) == "right"
    assert dressed(lambda x: np.asarray(x).tolist()) == "right"


SEVERAL = [name for name in EXERCISES if isinstance(EXERCISES[name].right(*EXERCISES[name].inputs[0]), tuple)]


@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize("kind", [list, iter, np.array])
@pytest.mark.parametrize("part", [lambda x: x, np.asarray, lambda x: np.asarray(x).tolist()])
def test_several_results_may_come_as_a_list(name, kind, part):
    """Arrays of several shapes in a list too; an iterator is no answer, and no accident either."""

    def answer(*args):
        got = [part(x) for x in EXERCISES[name].right(*args)]
        same_shape = len({np.shape(x) for x in got}) == 1
        return kind(got) if kind is not np.array or same_shape else got

    verdict = EXERCISES[name](answer)
    assert verdict.state == ("right" if kind is not iter else "wrong") and "cannot be examined" not in verdict.message


def test_several_results_may_come_by_name():
    assert check.four_terms(aero.score_terms)


def softmax_by_hand(scores, top):
    weights = np.exp(scores - top(scores))
    return weights / weights.sum(-1, keepdims=True)


@pytest.mark.parametrize(
    ("top", "right"),
    [
        (lambda s: s.max(-1, keepdims=True), True),
        (lambda s: s.max(), True),
        (lambda s: s[:, :1], True),  # the first key is in every past
        (lambda s: 0, False),
        (lambda s: s.mean(), False),
    ],
)
def test_a_softmax_written_by_hand_is_right_or_told_why_it_is_nan(top, right):
    def weights(s, d):
        return softmax_by_hand(np.where(np.tril(np.ones(s.shape)) == 1, s.numpy() / d**0.5, -np.inf), top)

    def output(q, k, v):
        return weights(q @ k.T, q.shape[-1]) @ v.numpy()

    with np.errstate(all="ignore"):
        for verdict in (check.attention_weights(weights), check.attention_output(output)):
            assert bool(verdict) == right
            assert right or "NaN" in verdict.message


def test_an_unshifted_softmax_gets_its_hint():
    for checker in (check.attention_weights, check.attention_output):
        verdict = checker(checker.mistakes[-1][0])
        assert "subtract each row's largest past score before exp" in verdict.message


def below(edge):
    return lambda t: (lambda row: (int(row.layer), int(row["head"])))(
        t[t.share_below_zero > edge].nlargest(1, "entropy").iloc[0]
    )


def masked_by(fill):
    return lambda s, d: (s / d**0.5).masked_fill(~aero.causal_mask(len(s)), fill).softmax(-1)


def ups(y, strict):
    return int(((y[1:-1] > y[:-2]) & (y[1:-1] > y[2:]) if strict else (y[1:-1] >= y[:-2]) & (y[1:-1] >= y[2:])).sum())


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("activation_shape", (2, 5, 2303)),
        ("rows_that_change", [1.0005, 2, 3]),
        ("attention_weights", masked_by(-20.0)),
        ("attention_weights", masked_by(-1e9)),
        ("count_peaks", lambda y: ups(y, strict=False)),
        ("count_peaks", lambda y: len(find_peaks(y, height=0.3)[0])),
        ("count_peaks", lambda y: int((np.diff((y > y.max() / 2).astype(int)) == 1).sum())),
        ("count_peaks", lambda y: sum(y[i] > y[i - 1] and y[i] > y[(i + 1) % len(y)] for i in range(len(y)))),
        ("share_below_zero", lambda s: (s[..., aero.causal_mask(s.shape[-1])] <= 0).double().mean(-1)),
        ("negative_yet_even", below(0.85)),
        ("blurred_histogram", lambda c, w, h: gaussian_filter1d(c.astype(float), round(h / w)) / (c.sum() * w)),
        ("heads_apart", lambda a, b: int((abs(a.mean(0) - b.mean(0)) > 0.28).sum())),
    ],
)
def test_near_misses_are_not_taken(name, answer):
    assert CHECKERS[name](answer).state == "wrong"


def test_right_answers_are_taken_as_arrays_too():
    right = check.previous_token_head.right
    assert check.previous_token_head(lambda w: np.array(right(w)))
    assert check.split_qkv(lambda x: torch.stack(aero.split_qkv(x)))
    assert check.gaussian_kde(lambda v, x, h: gaussian_kde(v, bw_method=h / v.std(ddof=1))(x))


def test_a_table_changed_in_place_is_named():
    def renamed(table):
        found = check.extreme_layers.right(table)
        table.columns = list("abcde")
        return found

    assert "in place" in check.extreme_layers(renamed).message


class Escape(BaseException):
    pass


def escape(*args):
    raise Escape


class NoClass:
    __class__ = property(lambda self: 1 / 0)


@pytest.mark.parametrize("name", CHECKERS)
def test_nothing_that_an_answer_does_escapes(name):
    class Broken(tuple):
        def __iter__(self):
            raise RuntimeError

    for answer in (escape, NoClass(), Broken((1, 2))):
        assert CHECKERS[name](answer).state == "wrong"
        assert CHECKERS[name](lambda *args, answer=answer: answer).state == "wrong"


def test_every_input_counts():
    def right_at_first(scores, head_size):
        return aero.attention_weights(scores, head_size) if len(scores) == 5 else torch.zeros_like(scores)

    assert check.attention_weights(right_at_first).state == "wrong"
    assert check.attention_weights(lambda s, d: aero.attention_weights(s, d) + 0.002).state == "wrong"


def test_nan_and_low_precision_are_named():
    nan = check.additive_mask(lambda n: (1 - torch.ones(n, n).tril()) * -torch.inf).message
    assert "0 · ∞" in nan
    assert check.attention_weights(lambda s, d: aero.attention_weights(s, d).to(torch.complex64)).message.endswith(
        "Expected [T, T], got Tensor torch.complex64."
    )


@pytest.fixture
def fresh():
    """The same course with no answer yet."""
    return Course({lesson: vars(module) for lesson, module in exercises.LESSONS.items()})


def test_progress_shows_the_lessons_tried(fresh):
    assert list(fresh.progress().lessons) == list(LESSONS)  # nothing tried: all of them
    fresh.additive_mask(...)
    fresh.attention_weights(lambda scores, head_size: scores)
    fresh.rows_that_change([1, 2, 3])
    lessons = fresh.progress().lessons
    assert list(lessons) == ["01"]
    assert lessons["01"]["additive_mask"] == "not attempted"
    assert lessons["01"]["attention_weights"] == "wrong"
    assert lessons["01"]["rows_that_change"] == "right"
    assert "1 of 5 solved" in repr(fresh.progress()) and "✔ rows_that_change" in fresh.progress()._repr_html_()


def test_what_was_solved_once_stays_solved(fresh):
    fresh.rows_that_change([1, 2, 3])
    fresh.rows_that_change([0])
    assert fresh.progress().lessons["01"]["rows_that_change"] == "right"


def test_an_exercise_put_in_changes_no_others_inputs():
    first, second = (inputs.drawn(lambda draw: [draw(3), draw(2, 2)]) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second)) and not torch.equal(first[0], first[1][0])


def test_a_checker_shown_without_a_call_gives_nothing_away():
    assert "1, 2, 3" not in repr(check.rows_that_change)
    assert "Cut" not in repr(check.split_heads) and "my_function" in repr(check.split_heads)


def test_html_is_escaped():
    assert "<b>" not in check.split_qkv(lambda x: exec("raise ValueError('<b>')"))._repr_html_()


def test_changing_the_input_in_place_is_named():
    def in_place(scores, head_size):
        right = aero.attention_weights(scores, head_size)
        scores.fill_(0)
        return right

    assert "in place" in check.attention_weights(in_place).message


def test_a_wrong_shape_says_which_was_expected():
    message = check.split_heads(lambda x, n: x).message
    assert "[3, 5, 4]" in message and "[5, 12]" in message


def test_the_language_can_be_chosen():
    aero.set_language("vi")
    assert check.split_qkv(3).message == "Cần đưa vào một hàm, nhưng nhận được int."
    aero.set_language("en")
    assert check.split_qkv(3).message == "Expected a function, got int."
    with pytest.raises(ValueError, match="expected one of vi, en, both, got 'fr'"):
        aero.set_language("fr")
