"""The course's exercises, a module a lesson: `check.split_heads(my_function)`, `check.progress()`.

What a checker does with an answer is in `checking.py`. A lesson's module says what each of its exercises asks: the
inputs, the right function (or value), and the usual mistakes by name, each with its hint in both languages.
"""

from aero_helpers.checking import Course
from aero_helpers.exercises import (
    lesson_01,
    lesson_02,
    lesson_03,
    lesson_04,
    lesson_04b,
    lesson_04c,
    lesson_05,
    lesson_06,
    lesson_07,
    lesson_08,
)

LESSONS = {
    "01": lesson_01,
    "02": lesson_02,
    "03": lesson_03,
    "04": lesson_04,
    "04b": lesson_04b,
    "04c": lesson_04c,
    "05": lesson_05,
    "06": lesson_06,
    "07": lesson_07,
    "08": lesson_08,
}

check = Course({lesson: vars(module) for lesson, module in LESSONS.items()})
