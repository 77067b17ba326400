import copy
import re

import make_editions
import make_site
import make_slides
import nbformat
import notebook_rules as rules
import pytest
import run_notebooks
from conftest import ROOT
from matplotlib import pyplot as plt

from aero_helpers.exercises import check
from aero_helpers.language import say, set_language

INSTRUCTOR = sorted((ROOT / "notebooks" / "instructor").glob("*.ipynb"))
CHECKERS = check.checkers
NAMES = [path.stem for path in INSTRUCTOR]
MUSEUM = "08_silent_bugs"  # ten exhibits, each of them with an exercise
PAGES_VI = [ROOT / "README.vi.md", *sorted((ROOT / "docs").glob("*.vi.md"))]
RULES = [rules.unpaired_languages, rules.unlike_twins, rules.vacuous_checks, rules.long_cells, rules.stored_errors]


def read(path):
    return nbformat.read(path, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def forbidden():
    """The variants that the glossary's table says not to use."""
    rows = [line.split("|") for line in (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines()]
    return [word.strip() for row in rows[2:] if len(row) == 6 for word in row[3].split(",") if "*" in word]


def test_the_notebooks_come_in_the_lessons_order():
    assert [name.split("_")[0] for name in NAMES] == ["01", "02", "03", "04", "04b", "04c", "05", "06", "07", "08"]


@pytest.mark.parametrize("path", INSTRUCTOR, ids=NAMES)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_instructor_notebooks_keep_the_rules(path, rule):
    assert rule(read(path)) == []


@pytest.mark.parametrize("path", INSTRUCTOR, ids=NAMES)
def test_a_reader_of_one_language_meets_20_to_45_cells_checked_somewhere(path):
    most = 60 if path.stem == MUSEUM else 45
    assert 20 <= len(read(make_editions.EDITIONS["en"] / path.name).cells) <= most
    assert sum("nbval-check-output" in rules.tags(cell) for cell in read(path).cells) >= 5


def spoilt(change):
    notebook = copy.deepcopy(read(INSTRUCTOR[0]))
    change(notebook)
    return notebook


def checked_cell(notebook):
    return next(cell for cell in notebook.cells if "nbval-check-output" in rules.tags(cell))


def test_the_rules_themselves_can_fail():
    def unexecuted(notebook):
        checked_cell(notebook).execution_count = None

    def without_outputs(notebook):
        checked_cell(notebook).outputs = []

    def without_twin(notebook):
        del notebook.cells[1]

    def another_formula(notebook):
        notebook.cells[0].source += "\n## one heading more"

    def long(notebook):
        checked_cell(notebook).source += "\n#" * 20

    def failed(notebook):
        checked_cell(notebook).outputs.append(nbformat.v4.new_output("error"))

    assert rules.vacuous_checks(spoilt(unexecuted)) and rules.vacuous_checks(spoilt(without_outputs))
    assert rules.unpaired_languages(spoilt(without_twin)) and rules.unlike_twins(spoilt(another_formula))
    assert rules.long_cells(spoilt(long)) and rules.stored_errors(spoilt(failed))
    assert rules.forbidden_words("một Phím, hai", ["phím"]) and not rules.forbidden_words("phímx", ["phím"])


def test_editions_badges_and_setup_cells_are_up_to_date():
    stale = [
        str(path.relative_to(ROOT))
        for path, text in make_editions.all_files().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    assert stale == [], "run `make editions`"


@pytest.mark.parametrize("path", INSTRUCTOR, ids=NAMES)
@pytest.mark.parametrize("language", ["both", "vi", "en"])
def test_an_edition_holds_the_same_code_and_its_own_language(path, language):
    source, made = read(path), read(make_editions.EDITIONS[language] / path.name)
    expected = [cell.source for cell in code(source) if "solution" not in rules.tags(cell)]
    got = [cell.source.replace(f'set_language("{language}")', 'set_language("both")') for cell in code(made)]
    assert got == expected
    assert all(not cell.outputs and cell.execution_count is None for cell in code(made))
    languages = {tag for cell in made.cells for tag in rules.tags(cell) if tag.startswith("lang-")}
    assert languages == ({"lang-vi", "lang-en"} if language == "both" else {f"lang-{language}"})
    assert "solved_" not in nbformat.writes(made)


@pytest.mark.parametrize("path", INSTRUCTOR, ids=NAMES)
def test_each_exercise_has_a_stub_that_says_so_and_a_solution_that_passes(path):
    cells = read(path).cells
    exercises = [i for i, cell in enumerate(cells) if "exercise" in rules.tags(cell)]
    for i in exercises:
        assert "solution" in rules.tags(cells[i + 1])
        assert cells[i].outputs[0].data["text/plain"].startswith("☐")
        assert cells[i + 1].outputs[0].data["text/plain"].startswith("✔")
    asked = [re.search(r"aero\.check\.(\w+)\(", cells[i].source)[1] for i in exercises]
    lesson = path.stem.split("_")[0]
    assert sorted(asked) == sorted(name for name, each in CHECKERS.items() if each.lesson == lesson)
    assert "aero.check.progress()" in [cell.source for cell in cells]


HEADING = {
    "vi": r"^##+ Bài tập (\d+) · .*\((dễ|vừa|khó), (\d+) phút\)$",
    "en": r"^##+ Exercise (\d+) · .*\((easy|medium|hard), (\d+) minutes\)$",
}


@pytest.mark.parametrize("path", INSTRUCTOR, ids=NAMES)
def test_exercises_rise_in_difficulty_say_their_minutes_and_hint_in_steps(path):
    found = {}
    for language, heading in HEADING.items():
        texts = [cell.source for cell in read(path).cells if f"lang-{language}" in rules.tags(cell)]
        found[language] = re.findall(heading, "\n".join(texts), re.MULTILINE)
        for text in texts:
            for exercise in re.split(r"^(?=##+ (?:Bài tập|Exercise) )", text, flags=re.MULTILINE)[1:]:
                predicts = re.search("Dự đoán|Predict", exercise.splitlines()[0])
                assert exercise.count("<details>") >= (1 if predicts else 2), exercise.splitlines()[0]
    levels = {"dễ": 0, "vừa": 1, "khó": 2, "easy": 0, "medium": 1, "hard": 2}
    vi, en = ([(int(n), levels[level], int(minutes)) for n, level, minutes in found[x]] for x in ("vi", "en"))
    assert vi == en and 3 <= len(vi) <= (10 if path.stem == MUSEUM else 5)
    assert [n for n, _, _ in vi] == list(range(1, len(vi) + 1))
    assert [level for _, level, _ in vi] == sorted(level for _, level, _ in vi)
    assert vi[0][1] == 0 and vi[-1][1] == 2


@pytest.mark.parametrize("path", INSTRUCTOR, ids=NAMES)
@pytest.mark.parametrize("language", ["vi", "en"])
def test_a_deck_has_one_language_no_solutions_and_no_stubs(path, language):
    page = make_slides.page(read(path), language)
    assert "solved_" not in page and "my_additive_mask" not in page
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page)  # nothing comes from the network
    assert ("Dự đoán" in page) == (language == "vi") and ("Predict" in page) == (language == "en")


@pytest.mark.parametrize("path", INSTRUCTOR, ids=NAMES)
def test_a_slide_is_a_title_one_thing_to_look_at_and_notes(path):
    decks = {language: make_slides.deck(read(path), language) for language in ("vi", "en")}
    assert len(decks["vi"]) == len(decks["en"])
    for slide in (slide for deck in decks.values() for slide in deck):
        words = re.sub("<[^>]+>", "", slide.title)
        item = re.sub("<blockquote>.*</blockquote>|<li>.*</li>", "", slide.item, flags=re.DOTALL)
        is_task = re.match(r"(Exercise|Bài tập) \d", words)
        assert 3 < len(words) <= 240 and item.count("<p>") <= bool(is_task)
        assert sum(kind in slide.item for kind in ("<table", "<img", "<math display", "<blockquote", "<ol")) <= 1
    prose = [block for slide in decks["en"] for block in slide.notes if block.startswith("<p>")]
    assert len(prose) > 8  # it is not lost: the speaker says it


def test_prose_goes_to_the_notes_and_a_formula_and_a_table_to_slides_of_their_own():
    text = (
        "Before.\n\n## 2. A heading\n\nSome $x^2$ prose.\n\n$$\\frac{1}{2}$$\n\nMore, `$y$`.\n\n"
        "| a | b |\n| --- | --- |\n| 1 | 2 |\n\n**Predict.** It is so. Which of the two? Then run.\n\n"
        "<details>hint</details>"
    )
    above, cell = make_slides.Slide("above"), nbformat.v4.new_markdown_cell(text)
    first, second, third = make_slides.slides_of_text(cell, "en", above)
    assert above.notes == ["<p>Before.</p>\n"]
    assert first.title == "2. A heading" and "<mfrac>" in first.item and 'display="block"' in first.item
    assert "<math" in first.notes[0] and "<code>$y$</code>" in first.notes[1]
    assert second.title == "2. A heading" and "<table>" in second.item
    assert (third.kicker, third.title, third.item) == ("Predict", "It is so. Which of the two? Then run.", "")
    assert "hint" not in "".join(third.notes)


@pytest.mark.parametrize("text", [r"It costs \$5 and \$6.", "``$a$ ` $b$``", "~~~\n$y$ and $z$\n~~~", "one $ alone"])
def test_dollars_that_are_no_formula_stay(text):
    assert "<math" not in make_slides.MARKDOWN.render(text)


def test_code_that_is_shown_says_in_both_languages_what_its_slide_asks():
    for path in INSTRUCTOR:
        for cell in code(read(path)):
            shown = cell.metadata.get("slideshow", {}).get("slide_type", "skip") != "skip"
            pictured = any("image/png" in output.get("data", {}) for output in cell.outputs)
            if shown or pictured:
                assert set(cell.metadata["title"]) == {"vi", "en"} and all(cell.metadata["title"].values()), path


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}']
)
@pytest.mark.parametrize("make", ["slides", "run", "editions"])
def test_a_notebook_that_is_no_lesson_is_named(make, content, tmp_path, monkeypatch):
    (tmp_path / "Untitled.ipynb").write_text(content)
    for module in (make_slides, make_editions, make_site):
        monkeypatch.setattr(module, "SOURCE", tmp_path)
    run = {
        "slides": lambda: make_slides.build(tmp_path / "slides", make_editions.read),
        "run": lambda: run_notebooks.run(tmp_path / "Untitled.ipynb"),
        "editions": make_editions.main,
    }
    with pytest.raises(ValueError, match=r"Untitled.ipynb: expected a (lesson|notebook)"):
        run[make]()


@pytest.mark.parametrize("path", INSTRUCTOR, ids=NAMES)
def test_stored_figures_are_small_and_the_stored_model_is_mini(path):
    notebook = read(path)
    for cell in code(notebook):
        for output in cell.outputs:
            assert len(output.get("data", {}).get("image/png", "")) * 3 / 4 < 100_000
    setup = next(cell for cell in code(notebook) if "setup" in rules.tags(cell))
    assert "LanguageModel('mini'" in setup.outputs[0].text


@pytest.mark.parametrize("path", INSTRUCTOR, ids=NAMES)
def test_every_figure_is_stored_in_each_language_too(path):
    for cell in code(read(path)):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                both, in_each = output.data["image/png"], output.metadata["image/png"]
                assert len({both, in_each["vi"], in_each["en"]}) == 3, (path, cell.source)


def test_what_speaks_both_languages_is_told_in_one():
    two_languages = pytest.importorskip("two_languages")
    set_language("both")
    title = say("Đầu nào?", "Which head?", "\n") + " 3.1, " + say("tầng", "layer")
    assert two_languages.in_one(title, "vi") == "Đầu nào? 3.1, tầng"
    assert two_languages.in_one(title, "en") == "Which head? 3.1, layer"
    assert two_languages.in_one("điểm thô / raw score", "en") == "raw score"  # as notebooks type it
    assert two_languages.in_one("scores / √d", "vi") == "scores / √d"
    figure, ax = plt.subplots()
    ax.set_xticks([0, 1], [say("đúng", "right"), "0"])
    ax.set_ylabel("mật độ / density")
    labels = {
        language: two_languages.draw_in_one(figure, language, lambda figure: drawn_labels(figure, ax))
        for language in ("vi", "en")
    }
    assert labels == {"vi": ["đúng", "0", "mật độ"], "en": ["right", "0", "density"]}
    assert drawn_labels(figure, ax) == ["đúng / right", "0", "mật độ / density"]
    plt.close(figure)


def drawn_labels(figure, ax):
    figure.canvas.draw()
    return [label.get_text() for label in ax.get_xticklabels()] + [ax.get_ylabel()]


def test_vietnamese_texts_use_the_glossarys_terms(forbidden):
    assert len(forbidden) >= 6
    words = [word.strip("* ") for word in forbidden]
    texts = {path.name: (ROOT / path).read_text(encoding="utf-8") for path in PAGES_VI}
    for path in INSTRUCTOR:
        cells = [cell.source for cell in read(path).cells if "lang-vi" in rules.tags(cell)]
        texts[path.name] = "\n".join(cells)
    assert {name: rules.forbidden_words(text, words) for name, text in texts.items()} == {name: [] for name in texts}


def test_a_lessons_page_hides_solutions_and_speaks_one_language():
    for path in INSTRUCTOR:
        for language, other in (("vi", "lang-en"), ("en", "lang-vi")):
            page = make_site.lesson(read(path), path, language)
            assert not [cell for cell in page.cells if {"solution", other} & rules.tags(cell)]
            source = "\n".join(cell.source for cell in page.cells)
            assert "solved_" not in source and "OWNER" not in source
            of_other = {"vi": "No result yet", "en": "Chưa có kết quả"}[language]
            tables = [output.get("data", {}).get("text/html", "") for cell in code(page) for output in cell.outputs]
            assert of_other not in "".join(tables)
            stored = [output for cell in code(page) for output in cell.outputs if "image/png" in output.get("data", {})]
            assert len(stored) == sum("image/png" in o.get("data", {}) for c in code(read(path)) for o in c.outputs)
