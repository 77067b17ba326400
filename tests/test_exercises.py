import numpy as np
import pytest
import torch

import aero_helpers as aero
from aero_helpers.exercises import Exercise, check

EXERCISES = {name: value for name, value in vars(check).items() if isinstance(value, Exercise)}
MISTAKES = [(name, *mistake) for name, exercise in EXERCISES.items() for mistake in exercise.mistakes]


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
    verdict = EXERCISES[name](mistake)
    assert not verdict
    assert vi in verdict.message and en in verdict.message


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
    assert repr(verdict).startswith("❌") and "<div" in verdict._repr_html_()
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
    assert dressed(lambda x: torch.as_tensor(x).requires_grad_()) == "right"
    assert dressed(lambda x: np.asarray(x).tolist()) == "right"


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


def test_a_checker_shown_without_a_call_gives_nothing_away():
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
