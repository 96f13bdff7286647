"""The static site, built from the published study and walked through in a browser, on a desk and on a phone."""

import json
import shutil
from urllib.parse import unquote, urlsplit

import pytest
from browser import chromium, needs_chromium, until
from bs4 import BeautifulSoup
from small_study import small_study

from mammorgb_utils.output.outputs import load_outputs
from mammorgb_utils.reporting.site import build, build_site
from mammorgb_utils.reporting.site.build import Page
from mammorgb_utils.reporting.site.render import markdown_html
from mammorgb_utils.runs import PROJECT_ROOT, RunError

LINKS = """[...document.querySelectorAll('a[href], img[src], link[href], script[src]')].map(e => e.href || e.src)"""
WIDTHS = {"desktop": (1280, 900, False), "phone": (390, 844, True)}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return build_site(tmp_path_factory.mktemp("site") / "of a" / "site").parent


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


def laid(text, leads=(), source="docs/a.md", place="docs/a.html", root=None):
    page = Page(place, source, "", markdown_html(text), "")
    build._number_headings(page.body)
    build._lay_links(page, dict(leads), root)
    return page.body


def test_formulas_are_drawn_by_the_browser_itself():
    body = markdown_html("Of $\\frac{a}{b}$ and\n\n$$\\sqrt{x}$$\n\nand `$HOME`")
    assert [tag.get("display") for tag in body.find_all("math")] == ["inline", "block"]
    assert body.find("mfrac") and body.find("msqrt") and body.find("code").get_text() == "$HOME"


def test_links_between_files_lead_to_pages(tmp_path):
    leads = {"docs/b.md": "docs/b.html", "notebooks/01_x.ipynb": "notebooks/01_x.html", "README.md": "index.html"}
    body = laid("[1](b.md#part-two) [2](../notebooks/01_x.ipynb) [3](../README.md) [4](https://doi.org/1) [5](#c)",
                leads, root=tmp_path)
    assert [a["href"] for a in body.find_all("a")] == ["b.html#part-two", "../notebooks/01_x.html", "../index.html",
                                                       "https://doi.org/1", "#c"]


def test_files_that_a_page_names_come_along_and_folders_are_no_links(tmp_path):
    body = laid("[a](../claims.yaml) [b](../profiles) [c](../../outside.md)", root=tmp_path)
    assert body.find("a")["href"] == "../claims.yaml" and len(body.find_all("a")) == 1
    assert (tmp_path / "claims.yaml").read_bytes() == (PROJECT_ROOT / "claims.yaml").read_bytes()
    assert [span["title"] for span in body.find_all("span")] == ["profiles, in the repository",
                                                                 "../outside.md, in the repository"]


def test_headings_have_the_anchors_that_documents_name():
    body = laid("# What it is not good for\n\n## Two, of `them`\n\n## Two, of `them`")
    assert [tag["id"] for tag in body.find_all(["h1", "h2"])] == ["what-it-is-not-good-for", "two-of-them",
                                                                  "two-of-them-1"]


def test_the_search_knows_each_section_by_its_heading():
    body = laid("before\n\n# A\n\none two\n\n## B\n\nthree `four`")
    assert list(build._sections(body)) == [("", "", "before"), ("A", "a", "one two"), ("B", "b", "three four")]


def test_patients_are_made_no_site(tmp_path, monkeypatch):
    run = small_study(tmp_path, monkeypatch, source="archive")
    with pytest.raises(RunError, match="made from archive: patient data isn't made a site"):
        build_site(tmp_path / "site", run)
    assert not (tmp_path / "site").exists()


def test_a_folder_that_holds_something_else_is_not_replaced(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").touch()
    with pytest.raises(RunError, match="notes holds something else than a site"):
        build_site(tmp_path / "notes")
    assert (tmp_path / "notes" / "mine.txt").is_file()


@pytest.mark.slow
def test_every_notebook_and_document_is_a_page(site):
    outputs = load_outputs()
    for name, notebook in outputs.notebooks.items():
        for stage in notebook.stages(name, ("sum", "absdiff", "zero")):
            text = (site / "notebooks" / f"{stage}.html").read_text()
            executed = PROJECT_ROOT / "notebooks" / "executed" / f"{stage}.ipynb"
            assert ("Not executed in the study" in text) != executed.is_file()
    for path in (PROJECT_ROOT / "docs").glob("*.md"):
        assert (site / "docs" / f"{path.stem}.html").is_file()
    claims = BeautifulSoup((site / "claims.html").read_text(), "html.parser")
    assert [article["id"] for article in claims.find_all("article")] == [f"C{i}" for i in range(1, 8)]
    index = json.loads((site / "assets" / "search.js").read_text().removeprefix("window.INDEX = ").rstrip(";\n"))
    assert {urlsplit(entry["to"]).path for entry in index} == {str(path.relative_to(site))
                                                               for path in site.rglob("*.html")}


@pytest.mark.slow
def test_a_second_build_replaces_the_first(site):
    again = site.parent / "again"
    shutil.copytree(site, again)
    (again / "old.html").touch()
    build_site(again)
    first, second = ({path.relative_to(folder) for path in folder.rglob("*")} for folder in (site, again))
    assert first == second


@needs_chromium
@pytest.mark.parametrize("width", WIDTHS)
def test_every_internal_link_leads_somewhere_and_nothing_comes_from_elsewhere(site, browser, width):
    browser.resize(*WIDTHS[width][:2], touch=WIDTHS[width][2])
    browser.requests.clear()
    waiting, seen, anchors = [(site / "index.html").as_uri()], {}, set()
    while waiting:
        address = waiting.pop()
        browser.open(address)
        assert browser.run("document.documentElement.scrollWidth <= innerWidth"), f"{address} is too wide for a {width}"
        seen[address] = set(browser.run("[...document.querySelectorAll('[id]')].map(e => e.id)"))
        for link in browser.run(LINKS):
            to, _, anchor = link.partition("#")
            if to.startswith("file:"):
                assert (found := PROJECT_ROOT / unquote(urlsplit(to).path)).is_file(), f"{address} links to {found}"
                anchors |= {(address, to, unquote(anchor))} if anchor else set()
                waiting += [to] if to.endswith(".html") and to not in seen and to not in waiting else []
    assert {site / path for path in map(unquote, (urlsplit(address).path for address in seen))} == set(
        site.rglob("*.html"))
    dead = [(page, to, anchor) for page, to, anchor in anchors if anchor not in seen[to]]
    assert not dead, f"no such place: {dead[:5]}"
    assert len(anchors) > 50 and {urlsplit(address).scheme for address in browser.requests} <= {"file", "data"}


@needs_chromium
def test_a_figure_grows_dark_is_kept_and_a_word_is_found(site, browser):
    browser.resize(1280, 900)
    browser.open((site / "notebooks" / "04_metrics.html").as_uri())
    browser.click("main img")
    assert browser.run("document.getElementById('zoom').open && document.querySelector('#zoom img').naturalWidth > 300")
    browser.click("#zoom button")
    until(lambda: not browser.run("document.getElementById('zoom').open"), "closing")
    light = browser.run("getComputedStyle(document.body).backgroundColor")
    browser.click("#theme")
    browser.open((site / "index.html").as_uri())
    assert browser.run("getComputedStyle(document.body).backgroundColor") != light
    browser.click("#theme")
    browser.click("#search")
    browser.type("derangement")
    until(lambda: browser.run("document.querySelectorAll('#found a').length"), "a result")
    browser.key("Enter", "Enter")
    until(lambda: "index.html" not in browser.run("location.href"), "going there")
