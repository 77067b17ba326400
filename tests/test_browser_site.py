"""The site and the slides in a real browser: every page, the switch, the search.

`make test-browser` runs this file, and installs a browser where there is none.
"""

import re
from itertools import product
from urllib.parse import unquote, urldefrag, urljoin

import make_site
import pytest
from conftest import ROOT
from make_editions import read
from served import SHORT, faults_of, served

import aero_helpers as aero

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed: make test-browser")
WIDTHS, SCHEMES = (390, 1024, 1440), ("light", "dark")


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The site, built as `make docs` builds it."""
    site = tmp_path_factory.mktemp("build") / "site"
    make_site.build(read, site)
    return site


@pytest.fixture(scope="session")
def site(folder):
    """The site's address."""
    with served(folder) as address:
        yield address


def pages_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.glob("??/*.html"))


# ---- every page


@pytest.mark.parametrize("language", ["vi", "en"])
def test_every_page_fits_every_screen_without_errors_and_without_other_machines(page, site, folder, language):
    broken = {}
    faults = faults_of(page, site, "data:", "blob:")
    names = [name for name in pages_of(folder) if name.startswith(language) and not name.endswith("live.html")]
    assert len(names) >= 26
    for name in names:
        page.set_viewport_size({"width": 390, "height": 900})
        page.goto(f"{site}/{name}")
        for width, scheme in product(WIDTHS, SCHEMES):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            reach = page.evaluate("document.documentElement.scrollWidth")
            if reach > width:
                broken[name, width, scheme] = reach
    assert broken == {} and faults == []


@pytest.mark.parametrize("language, scheme, width", [("vi", "dark", 390), ("en", "light", 1440)])
def test_axe_finds_nothing_serious(page, site, folder, language, scheme, width):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    found = {}
    for name in [name for name in pages_of(folder) if name.startswith(language)]:
        page.goto(f"{site}/{name}")
        results = axe.Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        serious = [each for each in results if each["impact"] in ("serious", "critical")]
        for each in serious:
            found[name, each["id"]] = [node["html"][:200] for node in each["nodes"][:2]]
    assert found == {}


def test_every_link_within_the_site_leads_somewhere(folder):
    broken, ids, links = [], {}, []
    for path in [*folder.glob("??/*.html"), *folder.glob("*.html"), *folder.glob("slides/*.html")]:
        text = path.read_text(encoding="utf-8")
        ids[path.resolve()] = set(re.findall(r"""\sid=["']?([^"'\s>]+)""", text))
        links += [
            (path, unquote(link))
            for link in re.findall(r"""<(?:a|link|img|script)\s[^>]*?(?:href|src)="([^"]+)\"""", text)
        ]
    for path, link in links:
        target, place = urldefrag(link)
        if re.match(r"(https?|data|mailto):", link) or link == "#":
            continue
        file = (path.parent / target.split("?")[0]).resolve() if target else path.resolve()
        anchors = ids.get(file)
        if not file.exists() or (place and anchors is not None and place not in anchors and "live" not in file.name):
            broken.append((path.name, link))
    assert len(links) > 2000 and broken == []


def test_both_editions_have_the_same_pages_and_headings(folder):
    def headings(path):
        return re.findall(r'id="(s\d+)"', path.read_text(encoding="utf-8"))

    names = {language: sorted(path.name for path in (folder / language).glob("*.html")) for language in ("vi", "en")}
    assert names["vi"] == names["en"] and len(names["vi"]) >= 27
    for name in names["vi"]:
        assert headings(folder / "vi" / name) == headings(folder / "en" / name), name


def test_every_picture_says_in_the_pages_language_what_it_shows(folder):
    for path in folder.glob("??/*.html"):
        pictures = re.findall(r"<img\s[^>]*>", path.read_text(encoding="utf-8"))
        said = [re.search(r'alt="([^"]+)"', picture) for picture in pictures]
        assert all(said), path
        assert not [each[1] for each in said if re.search(r"_images/|\.png|cell_output", each[1])], path


# ---- the switch and the search


@pytest.mark.parametrize("width", WIDTHS)
def test_the_switch_lands_on_the_twin_page_at_the_same_heading(page, site, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{site}/en/03_head_split.html#s5")
    page.wait_for_timeout(1500)  # the theme scrolls smoothly
    page.locator("#twin").click()  # wherever one reads
    page.wait_for_url("**/vi/03_head_split.html#s5", wait_until="load")
    page.wait_for_timeout(1500)
    top = page.evaluate("document.querySelector('#s5').getBoundingClientRect().top")
    assert -5 < top < 400 and page.locator("html").get_attribute("lang") == "vi"


def test_without_a_server_pages_say_what_needs_one(page, folder):
    page.goto((folder / "en" / "live.html").as_uri())
    page.get_by_text("This page needs a web server").wait_for(timeout=SHORT)
    page.goto((folder / "vi" / "search.html").as_uri() + "?q=softmax")
    page.get_by_text("Chỉ tìm được khi trang được mở qua một máy chủ web").wait_for(timeout=SHORT)
    page.goto((folder / "en" / "04_negative_shift.html").as_uri())
    page.locator("#twin").click()
    page.wait_for_url("**/vi/04_negative_shift.html*")


def test_the_api_shows_docstrings_as_they_are_set(folder):
    text = (folder / "en" / "api.html").read_text(encoding="utf-8")
    assert "Alias for field number" not in text and str(ROOT) not in text and "“" not in text
    words = re.sub(r"<[^>]+>", "", text)
    assert "::" not in words and "system-message" not in text
    for name in aero.__all__:
        assert f'id="aero_helpers.{name}"' in text or name in ("plots",), name
    assert '"isj"        the improved Sheather-Jones rule' in words  # columns stay columns


SEARCHES = [
    ("vi", "đầu chú ý", "03_head_split"),
    ("vi", "dau chu y", "03_head_split"),
    ("vi", "DAU CHU Y", "03_head_split"),
    ("vi", "dau chú ý", "03_head_split"),
    ("vi", "mặt nạ nhân quả", "01_causal_mask"),
    ("vi", "mat na nhan qua", "01_causal_mask"),
    ("vi", "độ dịch âm", "04_negative_shift"),
    ("vi", "do dich am", "04_negative_shift"),
    ("vi", "laminar", "06_laminar_profile"),
    ("en", "attention heads", "03_head_split"),
    ("en", "negative shift", "04_negative_shift"),
    ("en", "causal mask", "01_causal_mask"),
    ("en", "save_page", "api"),
]


@pytest.mark.parametrize("language, text, first", SEARCHES, ids=[text for _, text, _ in SEARCHES])
def test_a_search_finds_its_lesson_first_with_and_without_marks(page, site, language, text, first):
    faults = faults_of(page, site, "data:", "blob:")
    page.goto(f"{site}/{language}/index.html")
    page.set_viewport_size({"width": 1440, "height": 900})
    page.locator(".sidebar-search").fill(text)
    page.locator(".sidebar-search").press("Enter")
    page.locator("#results li").first.wait_for(timeout=SHORT)
    assert page.locator("#results li a").first.get_attribute("href").endswith(f"/{language}/{first}.html")
    page.locator("#search input").fill("###")
    page.locator("#found").get_by_text("“###”").wait_for(timeout=SHORT)
    assert page.locator("#results li").count() == 0 and faults == []


# ---- the slides


def test_the_slides_fit_turn_and_need_no_network(page, folder):
    faults = faults_of(page, "file:", "data:", "blob:")
    page.set_viewport_size({"width": 1280, "height": 720})
    decks = sorted((folder / "slides").glob("0*.html"))
    assert len(decks) == 2 * len(list((ROOT / "notebooks" / "instructor").glob("*.ipynb")))
    for path in decks:
        page.goto(path.as_uri())
        page.locator(".reveal.ready").wait_for()
        sizes = page.evaluate(
            """() => Reveal.getSlides().map((slide, i) => {
                Reveal.slide(i, 0);
                return [i, slide.scrollHeight, slide.scrollWidth];
            })"""
        )
        assert len(sizes) > 10
        assert [size for size in sizes if size[1] > 720 or size[2] > 1280] == [], path.name
    page.evaluate("Reveal.slide(0, 0)")
    first = page.evaluate("Reveal.getCurrentSlide().innerText")
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(200)
    assert page.evaluate("Reveal.getCurrentSlide().innerText") != first
    assert faults == []


def test_the_speaker_sees_the_prose_and_a_timer(page, site):
    page.goto(f"{site}/slides/04_negative_shift.en.html")
    page.locator(".reveal.ready").wait_for()
    with page.expect_popup() as popup:
        page.keyboard.press("s")
    view = popup.value
    view.locator(".speaker-controls-time").wait_for(timeout=SHORT)
    page.evaluate("Reveal.slide(1, 0)")
    view.locator(".speaker-controls-notes .value").get_by_text("The source lesson").wait_for(timeout=SHORT)


def test_a_slide_opens_the_live_page_at_its_view(page, site):
    page.goto(f"{site}/slides/04_negative_shift.vi.html")
    address = page.locator(".live a").nth(1).get_attribute("href")
    page.goto(urljoin(page.url, address))
    page.locator("#outcome").get_by_text("Trọng số đã đổi").wait_for(timeout=SHORT)
    assert page.locator("#clip").is_checked() and "/vi/live.html" in page.url
