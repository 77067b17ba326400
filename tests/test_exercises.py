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
def test_the_right_answer_passes(name):
    verdict = EXERCISES[name](EXERCISES[name].right)
    assert verdict and verdict.state == "right"


@pytest.mark.parametrize(("name", "mistake", "vi", "en"), MISTAKES)
def test_each_usual_mistake_is_recognised_by_name(name, mistake, vi, en):
    verdict = EXERCISES[name](mistake)
    assert not verdict
    assert vi in verdict.message and en in verdict.message


@pytest.mark.parametrize("name", EXERCISES)
@pytest.mark.parametrize("stub", [..., None, lambda *args: ..., lambda *args: None])
def test_a_stub_is_not_an_attempt(name, stub):
    assert EXERCISES[name](stub).state == "not attempted"


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
    ],
)
def test_any_answer_is_taken_with_grace(name, answer):
    verdict = EXERCISES[name](answer)
    assert verdict.state == "wrong"
    assert repr(verdict).startswith("❌") and "<div" in verdict._repr_html_()


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
