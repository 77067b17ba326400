"""Build the course's site, in Vietnamese and English: `python tools/make_site.py`, into build/site.

    python tools/make_site.py        from the instructor notebooks' stored outputs (make docs)
    python tools/make_site.py run    runs every notebook first (make lesson)

Both editions are made from the same notebooks and pages; a page has the same name in both. Sources for Sphinx go
to build/site-sources.
"""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import make_live
import make_slides
import nbformat
import site_pages
from make_editions import EDITIONS, LANGUAGES, OTHER, ROOT, SAID, SOURCE, drop_widgets, fill_in, read, speak, tags
from nbclient.exceptions import CellExecutionError
from run_notebooks import run_all

SITE = ROOT / "build" / "site"
# What each page is made from; {} is ".vi" for the Vietnamese edition of a page that has two.
DOCS = {
    "index": "docs/index{}.md",
    "start": "docs/start{}.md",
    "findings": "docs/findings{}.md",
    "performance": "docs/performance{}.md",
    "reliability": "docs/reliability{}.md",
    "cluster": "docs/cluster{}.md",
    "teaching": "docs/teaching{}.md",
    "glossary": "docs/glossary.md",
    "architecture": "docs/architecture{}.md",
    "contributing": "docs/contributing{}.md",
    "mini": "aero_helpers/mini/README{}.md",
    "credits": "docs/credits{}.md",
    "changelog": "CHANGELOG{}.md",
}
LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)(?=[)#])")
LANGUAGE_LINE = re.compile(r"^(\*\*English\*\*|\[English\]\(\S+\)) · .*\n", re.MULTILINE)
INDEX = """<!doctype html><html lang="vi"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Đầu chú ý / Attention heads</title>
<script>
location.replace((navigator.language || "").startsWith("vi") ? "vi/index.html" : "en/index.html");
</script></head>
<body><main><h1>Đầu chú ý / Attention heads</h1>
<p><a href="vi/index.html">Tiếng Việt</a> · <a href="en/index.html" lang="en">English</a></p></main></body></html>
"""


def source_of(name, language):
    """The file that a page is made from."""
    return ROOT / DOCS[name].format(".vi" if language == "vi" else "")


def pages_by_file():
    """{file: name of its page} of everything a text may link to."""
    files = {source_of(name, language): name for name in DOCS for language in LANGUAGES}
    readmes = {ROOT / "README.md": "index", ROOT / "README.vi.md": "index", ROOT / "LICENSE": "credits"}
    made = {ROOT / "docs" / f"{name}.md": name for name in site_pages.MADE}
    return files | readmes | made | {path: path.stem for path in SOURCE.glob("*.ipynb")}


def with_links(text, path):
    """A text of the repository as the site's: links lead to pages, and pictures to what lies beside them.

    Raises ValueError for a link to what is not on the site.
    """
    pages = pages_by_file()

    def page(match):
        target = (path.parent / match[1]).resolve()
        if target.suffix == ".png" and target.exists():
            return target.name
        if target not in pages:
            raise ValueError(f"{path}: expected links to pages of the site, got one to {match[1]}")
        return pages[target] + (".ipynb" if target.suffix == ".ipynb" else ".md")

    return LINK.sub(page, LANGUAGE_LINE.sub("", text))


def lesson(notebook, path, language):
    """A notebook as a page of one edition: without solutions, with the ways to open it under its title."""
    page = shown(notebook, path, language)
    for cell in page.cells:
        if "aero.check.progress()" in cell.source and cell.cell_type == "code":
            cell.outputs = []  # how whoever made the page stood, who had the solutions
    site_pages.hide_what_needs_an_address(page)
    for cell in page.cells:
        if cell.cell_type == "markdown":
            cell.source = with_links(cell.source, path)
        elif "title" in cell.metadata:
            said = cell.metadata["title"][language]
            cell.metadata["mystnb"] = {"image": {"alt": said if isinstance(said, str) else "; ".join(said)}}
    for i, cell in reversed(list(enumerate(page.cells))):
        if cell.cell_type == "code" and "aero.save_page(" in cell.source:
            page.cells.insert(i + 1, nbformat.v4.new_markdown_cell(site_pages.saved_page(language)))
    page.cells.insert(1, nbformat.v4.new_markdown_cell(site_pages.ways_to_open(path, language)))
    return page


def shown(notebook, path, language):
    """The cells of a notebook for readers of one language, without solutions, badge and widgets."""
    page = deepcopy(notebook)
    hidden = {"solution", "badge", OTHER[language]}
    page.cells = [cell for cell in page.cells if not hidden & set(tags(cell))]
    fill_in(page, path, language)
    drop_widgets(page)
    speak(page, language)
    return page


def write_sources(folder, language, notebook_of):
    """Write one edition's pages for Sphinx into `folder`."""
    folder.mkdir(parents=True)
    for name in DOCS:
        path = source_of(name, language)
        text = with_links(path.read_text(encoding="utf-8"), path).replace("<!-- rooms -->", site_pages.rooms())
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
    lessons = {path: lesson(notebook_of(path), path, language) for path in sorted(SOURCE.glob("*.ipynb"))}
    for path, page in lessons.items():
        nbformat.write(page, folder / path.name)
    for name, text in site_pages.made_pages(lessons, language).items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
    for picture in (ROOT / "docs").glob("*.png"):
        shutil.copy(picture, folder)


def sphinx(sources, language):
    """Build one edition from its sources; a warning is an error. Returns its folder."""
    built = sources / f"{language}-built" / language
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going"]
    paths = os.pathsep.join([str(ROOT / "tools"), *filter(None, [os.environ.get("PYTHONPATH")])])
    options = [
        "--conf-dir",
        "tools/site",
        "--doctree-dir",
        str(sources / f"{language}-doctrees"),
        "--define",
        f"language={language}",
    ]
    folders = [str(sources / language), str(built)]
    subprocess.run([*command, *options, *folders], cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}, check=True)
    for page in built.rglob("*.html"):
        page.write_text(with_labels(page.read_text(encoding="utf-8"), language), encoding="utf-8")
    return built


def with_labels(text, language):
    """A page whose labels, which the theme and Sphinx have in English alone, speak the edition's language.

    The names of functions weigh more in a search than words of the text that are like them.
    """
    text = text.replace('<dt class="sig ', '<dt data-pagefind-weight="9" class="sig ')
    for english, own in SAID[language]["labels"].items():
        text = text.replace(f'="{english}"', f'="{own}"')
    return text


def build(notebook_of, site=SITE):
    """Write the whole site from the notebooks that `notebook_of(path)` gives. Until it is whole, an older one stays."""
    sources, new = site.with_name("site-sources"), site.with_name("site-new")
    for folder in (new, sources):
        shutil.rmtree(folder, ignore_errors=True)
    for language in LANGUAGES:
        write_sources(sources / language, language, notebook_of)
    new.mkdir()
    with ThreadPoolExecutor(2) as pool:
        for language, built in zip(LANGUAGES, pool.map(lambda language: sphinx(sources, language), LANGUAGES)):
            shutil.move(built, new / language)
    for language in LANGUAGES:
        (new / language / "searchindex.js").unlink()  # Pagefind searches
        shutil.copytree(EDITIONS[language], new / language / "notebooks", ignore=shutil.ignore_patterns(".*"))
    make_live.build(new)
    make_slides.build(new / "slides", notebook_of)
    (new / "index.html").write_text(INDEX, encoding="utf-8")
    pages = ["--site", str(new), "--glob", "{vi,en}/**/*.html", "--exclude-selectors", ".headerlink"]
    subprocess.run([sys.executable, "-m", "pagefind", *pages, "--silent"], check=True)
    shutil.rmtree(site, ignore_errors=True)  # no page of what is gone
    new.rename(site)


def main():
    try:
        notebooks = run_all(sorted(SOURCE.glob("*.ipynb"))) if sys.argv[1:] == ["run"] else {}
    except CellExecutionError as error:
        print(f"stopped by an error\n{error}")
        return 1
    build(lambda path: notebooks.get(path) or read(path))
    print(f"Xem / open: {SITE.relative_to(ROOT) / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
