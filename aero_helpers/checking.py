"""How answers are examined: the machinery behind `aero_helpers.exercises`.

An exercise is a list of inputs, the right function, and the usual mistakes: wrong functions, each
with the hint that belongs to it. An answer that computes what a mistake computes gets its hint.
A prediction is the same with a value in place of a function. A checker never raises because of the
answer, and never shows the solution.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from html import escape
from traceback import format_exception_only

import numpy as np
import pandas as pd
import torch

from aero_helpers.language import say

MOST_NUMBERS = 10**7  # in an answer; a broadcast array may claim any number of them
MARKS = {"right": ("✔", "#1b7f3b"), "wrong": ("✘", "#b3261e"), "not attempted": ("☐", "#555555")}


@dataclass(frozen=True)
class Verdict:
    """What a checker found. True where the answer is right."""

    state: str  # "right", "wrong" or "not attempted"
    message: str

    def __bool__(self):
        return self.state == "right"

    def __repr__(self):
        return f"{MARKS[self.state][0]} {self.message}"

    def _repr_html_(self):
        mark, colour = MARKS[self.state]
        lines = escape(self.message, quote=False).replace("\n", "<br>")
        mark = f'<b style="color: {colour}">{mark}</b>'
        return f'<div style="border-left: 4px solid {colour}; padding: 0.4em 0.8em">{mark} {lines}</div>'


@dataclass
class Checker:
    """What exercises and predictions share. `Course` tells each its name and lesson; it remembers how it went."""

    mistakes: list[tuple] = field(default_factory=list, kw_only=True)  # (wrong function or value, vi, en)
    name: str = field(default="", kw_only=True)
    lesson: str = field(default="", kw_only=True)
    state: str | None = field(default=None, init=False)  # "right", once it was right, else the last verdict's state

    def examine(self, answer: object) -> "Verdict":
        """The Verdict on an answer, or what the answer raises."""
        raise NotImplementedError

    def __call__(self, answer):
        """The Verdict on an answer; whatever the answer is, nothing is raised."""
        try:
            verdict = self.examine(answer)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # an answer may be any object, and an object may do anything
            kind = type(error).__name__
            verdict = _wrong(f"Không chấm được câu trả lời này ({kind}).", f"This answer cannot be examined ({kind}).")
        if self.state != "right":
            self.state = verdict.state
        return verdict


class Course:
    """Checkers by name, `course.split_heads(answer)`, and how they stand. One made anew knows of no answer.

    `lessons`: {lesson: {name: value}}, a module's variables say; what is no checker among them is passed over.
    """

    def __init__(self, lessons):
        self.checkers = {
            name: replace(checker, name=name, lesson=lesson)
            for lesson, values in lessons.items()
            for name, checker in values.items()
            if isinstance(checker, Checker)
        }
        vars(self).update(self.checkers)

    def progress(self) -> "Progress":
        """How the exercises of the lessons tried so far stand: a Progress, shown as a list."""
        return Progress(self.checkers.values())


class Progress:
    """How the exercises stand: a line a lesson of which any was tried, all lessons where none was."""

    def __init__(self, checkers):
        tried = {checker.lesson for checker in checkers if checker.state}
        self.lessons: dict[str, dict[str, str]] = {}
        for checker in checkers:
            if checker.lesson in tried or not tried:
                self.lessons.setdefault(checker.lesson, {})[checker.name] = checker.state or "not attempted"

    def _lines(self):
        for lesson, states in self.lessons.items():
            n_solved = sum(state == "right" for state in states.values())
            marks = "  ".join(f"{MARKS[state][0]} {name}" for name, state in states.items())
            count = say(f"đã giải {n_solved} trên {len(states)}", f"{n_solved} of {len(states)} solved")
            yield f"{lesson} · {count}", marks

    def __repr__(self):
        return "\n".join(f"{count}:  {marks}" for count, marks in self._lines())

    def _repr_html_(self):
        return "".join(f"<p><b>{count}</b><br>{marks.replace('  ', ' &nbsp; ')}</p>" for count, marks in self._lines())


@dataclass(repr=False)
class Exercise(Checker):
    """A function to write, or, where there is a `given` one with a mistake in it, to mend."""

    inputs: list[tuple]  # argument tuples, telling ones first: on a trivial input many mistakes look alike
    right: Callable
    result: object  # the wanted shape, in words: a text, or (vi, en)
    given: Callable | None = None

    def mistake(self, vi: str, en: str) -> Callable[[Callable], Callable]:
        """Make the decorated function one of the usual mistakes; an answer that computes the same gets this hint."""

        def add(wrong):
            self.mistakes.append((wrong, vi, en))
            return wrong

        return add

    def __repr__(self):
        return say("Gọi với hàm của bạn: check.…(my_function)", "Call it with your function: check.…(my_function)")

    def examine(self, answer: object) -> Verdict:
        if answer is None or answer is ...:
            return _not_attempted()
        if not callable(answer):
            kind = type(answer).__name__
            return _wrong(f"Cần đưa vào một hàm, nhưng nhận được {kind}.", f"Expected a function, got {kind}.")
        for arguments in self.inputs:
            verdict = self._try(answer, arguments)
            if verdict is not None:
                return verdict
        n = len(self.inputs)
        return Verdict("right", say(f"Đúng với cả {n} đầu vào thử.", f"Right, on all {n} inputs tried.", "\n"))

    def _try(self, answer, arguments):
        """A verdict that ends the examination, or None where this input was answered rightly."""
        given = deepcopy(arguments)
        try:
            got = answer(*given)
        except (Exception, SystemExit) as error:  # whatever the student's code raises is theirs to read
            what = "".join(format_exception_only(error)).strip()
            return _wrong(f"Hàm của bạn dừng vì lỗi {what}", f"Your function stopped with {what}")
        if got is None or got is ... or (isinstance(got, tuple) and any(part is ... for part in got)):
            return _not_attempted()
        if not all(map(_unchanged, given, arguments)):
            return _wrong(
                "Hàm của bạn đã sửa đầu vào tại chỗ (in-place). Hãy tạo tensor mới.",
                "Your function changed its input in place. Make a new tensor instead.",
            )
        expected = self.right(*deepcopy(arguments))
        if isinstance(expected, tuple):
            got = _as_tuple(got, len(expected))
        if _same(got, expected):
            return None
        if self.given and self._agrees(answer, self.given):
            return _unmended()
        for mistake, vi, en in self.mistakes:
            if _same(got, mistake(*deepcopy(arguments))) and self._agrees(answer, mistake):
                return _wrong(vi, en)
        if _form(got) is None or _form(got) != _form(expected):
            return self._complaint_about_form(got, expected)
        return _complaint_about_numbers(got)

    def _agrees(self, answer, mistake):
        """Whether an answer computes what a mistake computes, on every input: on one alone they may coincide."""
        try:
            for arguments in self.inputs:
                got, wrong = answer(*deepcopy(arguments)), mistake(*deepcopy(arguments))
                if not _same(_as_tuple(got, len(wrong)) if isinstance(wrong, tuple) else got, wrong):
                    return False
        except Exception:  # the answer's own, on a later input
            return False
        return True

    def _complaint_about_form(self, got, expected):
        want, have = _form(expected), _form(got)
        vi, en = self.result if isinstance(self.result, tuple) else (self.result, self.result)
        if have is None:
            kind = f"{type(got).__name__} {_dtype(got)}".strip()
            return _wrong(f"Cần {vi}, nhưng nhận được {kind}.", f"Expected {en}, got {kind}.")
        return _wrong(
            f"Kích thước chưa đúng: cần {vi}, với đầu vào này là {want}, nhưng nhận được {have}.",
            f"The shape is off: expected {en}, here {want}, got {have}.",
        )


@dataclass(repr=False)
class Prediction(Checker):
    """A question to answer before the code runs; its value is a word, a number, or several numbers in order."""

    right: object
    why: tuple[str, str]  # (vi, en), shown with a right answer
    kind: tuple[str, str]  # (vi, en): what sort of value is expected

    def __repr__(self):
        return say("Gọi với dự đoán của bạn: check.…(my_prediction)", "Call it with your prediction: check.…(…)")

    def examine(self, answer: object) -> Verdict:
        if answer is None or answer is ... or (isinstance(answer, (tuple, list)) and any(x is ... for x in answer)):
            return _not_attempted()
        for value, vi, en in [(self.right, *self.why), *self.mistakes]:
            if _same_value(answer, value):
                return Verdict("right", say(vi, en, "\n")) if value is self.right else _wrong(vi, en)
        if isinstance(answer, str) != isinstance(self.right, str) or _plain(answer) is None:
            vi, en = self.kind
            got = type(answer).__name__
            return _wrong(f"Cần {vi}, nhưng nhận được {got}.", f"Expected {en}, got {got}.")
        return _wrong(
            f"Chưa đúng. (Cần {self.kind[0]}.) Hãy nghĩ lại, hoặc chạy ô kế tiếp và xem dự đoán sai ở chỗ nào.",
            f"Not so. (Expected: {self.kind[1]}.) Think again, or run the next cell and see where you differ.",
        )


def _complaint_about_numbers(got):
    if any(np.isnan(part).any() for part in _parts(got)):
        return _wrong(
            "Kết quả có NaN: do 0/0 (mọi e^điểm của một hàng đều bằng 0?), do 0 · ∞, hay do một hàng toàn −∞?",
            "The result has NaN: from 0/0 (every e^score of a row 0?), from 0 · ∞, or from a row of nothing but −∞?",
        )
    return _wrong(
        "Kích thước đúng, nhưng các con số chưa đúng. Hãy thử trên một ví dụ nhỏ và so từng số.",
        "The shape is right, the numbers are not. Try a tiny example and compare number by number.",
    )


def _wrong(vi, en):
    return Verdict("wrong", say(vi, en, "\n"))


def _not_attempted():
    vi, en = (
        "Chưa có kết quả: hãy thay dấu ... (trong hàm, đừng quên return)",
        "No result yet: replace the ... (in a function, remember return)",
    )
    return Verdict("not attempted", say(vi, en))


def _unmended():
    vi = "Đây vẫn là kết quả của mã cho sẵn, và nó chưa đúng: hãy tìm lỗi rồi sửa"
    en = "This is still what the given code computes, and it is not right: find the mistake and mend it"
    return Verdict("not attempted", say(vi, en))


def _parts(value):
    """An answer as a list of float arrays, several for a tuple; None where it holds no real numbers."""
    try:
        return [_real_numbers(part) for part in (value if isinstance(value, tuple) else (value,))]
    except Exception:  # an answer may be any object, and an object may do anything
        return None


def _real_numbers(part):
    if isinstance(part, torch.Tensor):
        part = part.detach().cpu().to_dense()
        part = (part if part.is_complex() else part.double()).numpy()
    part = np.asarray(part)
    if part.dtype.kind not in "biuf" or part.size > MOST_NUMBERS:
        raise TypeError(f"expected real numbers, no more than {MOST_NUMBERS:,}, got {part.size:,} of {part.dtype}")
    return part.astype(float)


def _form(value):
    """The shape in words, or the shapes of a tuple; None where the answer holds no real numbers."""
    parts = _parts(value)
    if parts is None:
        return None
    shapes = [str(list(part.shape)) if part.shape else say("số", "number") for part in parts[:9]]
    return f"({', '.join(shapes)})" if isinstance(value, tuple) else shapes[0]


def _dtype(got):
    try:
        return str(got.dtype)
    except Exception:  # no array, or an object that raises at every touch
        return ""


def _same(a, b):
    if isinstance(a, tuple) != isinstance(b, tuple):
        return False
    a, b = _parts(a), _parts(b)
    if a is None or b is None or len(a) != len(b):
        return False
    if any(x.shape != y.shape and not x.size == y.size == 1 for x, y in zip(a, b)):
        return False
    return all(np.allclose(x, y, rtol=1e-4, atol=1e-5, equal_nan=True) for x, y in zip(a, b))


def _unchanged(given, argument):
    if isinstance(argument, pd.DataFrame):
        return isinstance(given, pd.DataFrame) and given.equals(argument)
    return _same(given, argument)


def _as_tuple(got, n):
    """An answer that should be a tuple of n: lists, dicts, arrays, tensors of that length are taken apart."""
    got = list(got.values()) if isinstance(got, dict) else got
    if isinstance(got, list) or (isinstance(got, (np.ndarray, torch.Tensor, pd.Series)) and got.ndim):
        got = got.tolist() if isinstance(got, pd.Series) else got  # its items, not what stands under its labels
        return tuple(got) if len(got) == n else got
    return got


def _plain(value):
    """A predicted value as an array of numbers, or as a word without case and blanks; None for anything else."""
    if isinstance(value, str):
        return np.array(value.strip().casefold())
    try:
        value = sorted(value) if isinstance(value, (set, frozenset)) else value
        numbers = _real_numbers(value if isinstance(value, torch.Tensor) else np.asarray(value))
    except Exception:  # an answer may be any object, and an object may do anything
        return None
    return np.atleast_1d(numbers) if numbers.ndim < 2 else None


def _same_value(a, b):
    a, b = _plain(a), _plain(b)
    if a is None or b is None or a.dtype.kind != b.dtype.kind or a.shape != b.shape:
        return False
    if a.dtype.kind == "U" or np.array_equal(b, b.round()):  # whole numbers are right or wrong
        return bool(np.array_equal(a, b))
    return np.allclose(a, b, rtol=1e-3, atol=1e-6)
