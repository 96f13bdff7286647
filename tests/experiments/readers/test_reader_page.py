"""The readers' page: its colours, and a whole session in real Chromium, by mouse, touch and keys, at three widths."""

import json
import re
import shutil
from importlib.resources import files
from itertools import cycle

import pytest
from browser import chromium, needs_chromium, until
from reader_studies import SIDE, small_study

from mammorgb_utils.experiments.readers import read_results, score_readers
from mammorgb_utils.experiments.readers.files import QUESTIONS

CSS = (files("mammorgb_utils.experiments.readers") / "templates" / "reader.css").read_text(encoding="utf-8")
COLOURS = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", CSS))
WIDTHS = {"desktop": (1280, 800, False), "tablet": (820, 1180, True), "phone": (390, 844, True)}

WINDOW = QUESTIONS["window"]


def contrast(one, two):
    """WCAG 2.2, contrast ratio."""
    def luminance(colour):
        values = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    light, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_that_of_wcag():
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("ink, ground, least", [
    *((ink, ground, 4.5) for ink in ("ink", "quiet", "alarm") for ground in ("ground", "panel")),
    ("chosen-ink", "chosen", 4.5),
    *((line, ground, 3.0) for line in ("line", "focus") for ground in ("ground", "panel")), ("focus", "chosen", 3.0),
    ("focus", "image", 3.0)])
def test_colours_have_the_contrast_of_aa(ink, ground, least):
    assert contrast(COLOURS[ink], COLOURS[ground]) >= least


def test_no_colour_stands_outside_the_checked_ones():
    body = CSS.replace(re.search(r":root \{.*?\}", CSS, re.S)[0], "")
    assert not re.search(r"#[0-9a-fA-F]{3,8}\b|rgb|hsl|\b(white|black|gr[ae]y|red)\b", body)
    assert set(re.findall(r"var\(--([\w-]+)\)", body)) == set(COLOURS)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return small_study(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    with chromium(folder) as page:
        page.folder = folder
        yield page


def begin(page, folder, width="desktop", reader="R1"):
    """Open the page as a new reader would, and go to the first case."""
    wide, high, touch = WIDTHS[width]
    page.resize(wide, high, touch=touch)
    page.open((folder / "reader_study.html").as_uri())
    page.run("localStorage.clear()")
    page.reload()
    page.click("#reader")
    page.type(reader)
    page.click("#go")
    until(lambda: page.run("!document.querySelector('#reading').hidden"), "the first case")


def title(page):
    return page.run("document.querySelector('#title').textContent")


def answer(page, how, origin, confidence, consistency, artefact):
    """Answer the case that is shown, by keys or by clicks, and go on."""
    if how == "keys":
        page.key({"real": "r", "synthetic": "s"}[origin])
        page.key(str(confidence), f"Digit{confidence}")
        page.key(str((consistency + 5) % 10), f"Digit{(consistency + 5) % 10}")
        if artefact:
            page.key("d")
        page.key("n")
        return
    for name, value in (("origin", origin), ("confidence", confidence), ("consistency", consistency)):
        page.click(f'label:has(> input[name="{name}"][value="{value}"])')
    if artefact:
        page.click('label:has(> input[value="cut_breast"])')
    page.click("#next")


@needs_chromium
def test_a_session_with_a_reload_is_saved_and_scored(browser, study, tmp_path):
    page, (_, folder, key) = browser, study
    begin(page, folder)
    given = {}
    for number, (case, how) in enumerate(zip(key.cases.itertuples(), cycle(["keys", "clicks"]), strict=False)):
        assert title(page) == f"Case {number + 1} of {len(key.cases)}"
        if number == 7:  # in the middle of a case, with two of three questions answered
            page.key("s")
            page.key("4", "Digit4")
            page.reload()
            assert "7 of 16" in page.run("document.querySelector('#go').textContent")
            page.click("#go")
            assert title(page) == "Case 8 of 16" and page.run("readForm(form).confidence") == 4
        given[case.case] = (("real", "synthetic")[number % 2], 1 + number % 5, 1 + (2 * number) % 5, number % 3 == 0)
        answer(page, how, *given[case.case])
    until(lambda: page.run("!document.querySelector('#finish').hidden"), "the end")
    page.click("#download")
    file = browser.folder / f"reader_R1_{key.study}.json"
    until(file.is_file, "the download")
    result = shutil.copy(file, tmp_path / "R1.json")
    assert json.loads(result.read_text()) == json.loads(page.run("document.querySelector('#text').value"))
    readings = read_results([result], key).set_index("case")
    for case, (origin, confidence, consistency, artefact) in given.items():
        row = readings.loc[case]
        assert (row["origin"], row["confidence"], row["consistency"], row["cut_breast"]) == (
            origin, confidence, consistency, artefact)
    right = [(origin == "synthetic") == (readings.loc[case, "set"] != "real")
             for case, (origin, *_) in given.items() if readings.loc[case, "repeat_of"] == ""]
    table = score_readers(readings.reset_index()).set_index(["measure", "set"])
    assert table.loc[("accuracy", ""), "estimate"] == pytest.approx(sum(right) / len(right))
    assert not readings["simulated"].any()
    assert {address.split(":")[0] for address in page.requests} <= {"file", "blob"}, "nothing goes over a network"


@needs_chromium
def test_what_is_missing_is_said_and_one_step_back_is_all(browser, study):
    page, (_, folder, _) = browser, study
    begin(page, folder)
    page.key("r")
    page.click("#next")
    missing = page.run("document.querySelector('#open').textContent")
    assert "how sure you are" in missing and "views match" in missing and title(page) == "Case 1 of 16"
    for _ in range(2):
        answer(page, "keys", "real", 3, 3, False)
    page.key("p")
    assert title(page) == "Case 2 of 16" and page.run("document.querySelector('#previous').disabled")
    page.key("p")
    assert title(page) == "Case 2 of 16"
    page.click("#to-start")
    page.click("#keys")
    page.click("#go")
    page.key("s")
    assert page.run("readForm(form).origin") == "real", "the keys are switched off"


@needs_chromium
def test_window_zoom_and_place_by_mouse_and_touch(browser, study):
    page, (_, folder, _) = browser, study
    begin(page, folder)
    x, y, width, _ = page.place("#cc")
    page.drag((x, y), (x + 0.2 * width, y))
    assert page.run("[shared.centre, shared.width]") == pytest.approx([WINDOW["centre"], WINDOW["width"] - 20], abs=1)
    page.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=-350)
    until(lambda: page.run("views[0].zoom") > 1.9, "zooming")
    page.click("#drag")
    x, y, width, _ = page.place("#cc")
    page.drag((x, y), (x + 0.2 * width, y))
    assert page.run("[views[0].x, views[1].x]") == pytest.approx([0.2, 0], abs=0.01)
    page.key("x")
    assert page.run("[views[0].zoom, shared.width]") == [1, WINDOW["width"]]
    begin(page, folder, "tablet")
    x, y, width, _ = page.place("#mlo")
    page.touch("touchStart", (x - 40, y), (x + 40, y))
    page.touch("touchMove", (x - 80, y), (x + 80, y))
    page.touch("touchEnd")
    assert page.run("views[1].zoom") == pytest.approx(2.0, abs=0.1) and page.run("shared.width") == WINDOW["width"]


@needs_chromium
def test_the_canvas_shows_the_greys_of_the_case(browser, study):
    page, (_, folder, _) = browser, study
    begin(page, folder)
    page.run("shared.change(50, 100)")
    shown = page.run("Array.from(views[1].grey.getContext('2d').getImageData(0, 0, "
                     f"{SIDE}, {SIDE}).data.filter((_, i) => i % 4 === 0))")
    stored = page.run(f"Array.from(atob(IMAGES[0]).slice({SIDE * SIDE}), (c) => c.charCodeAt(0))")
    assert shown == stored and len(set(shown)) > 50


@needs_chromium
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_and_everything_has_a_name(browser, study, width):
    page, (_, folder, _) = browser, study
    begin(page, folder, width)
    for section in ("reading", "start"):
        page.run(f"show({section!r})")
        assert page.run("document.documentElement.scrollWidth <= innerWidth"), section
        small = page.run("[...document.querySelectorAll('button, .choice, .button')].filter((e) => e.offsetParent && "
                         "Math.min(e.offsetWidth, e.offsetHeight) < 44).map((e) => e.textContent)")
        assert small == [], "too small for fingers"
    nameless = page.run("[...document.querySelectorAll('input, textarea')].filter((e) => !e.labels.length)"
                        ".map((e) => e.outerHTML)")
    assert nameless == []
    assert page.run("[...document.querySelectorAll('fieldset')].every((e) => e.querySelector('legend'))")


@needs_chromium
def test_focus_is_seen_on_every_control(browser, study):
    page, (_, folder, _) = browser, study
    begin(page, folder)
    seen = set()
    for _ in range(20):
        page.key("Tab", "Tab")
        name, outline = page.run(
            "(() => { const e = document.activeElement, box = e.closest('.choice') || e;"
            "return [e.id || e.name || e.tagName, getComputedStyle(box).outlineStyle + "
            "getComputedStyle(box).outlineWidth]; })()")
        assert name == "BODY" or outline == "solid3px", name
        seen.add(name)
    assert {"cc", "mlo", "centre", "width", "zoom", "drag", "origin", "confidence", "artefacts", "next"} <= seen


@needs_chromium
def test_answers_travel_to_another_device_and_edited_ones_are_refused(browser, study, tmp_path):
    page, (_, folder, key) = browser, study
    begin(page, folder, reader="R7")
    answer(page, "keys", "synthetic", 5, 2, True)
    saved = page.run("result()")
    with pytest.raises(ValueError, match="part.json: 15 of 16 cases have no answer"):
        (tmp_path / "part.json").write_text(saved)
        read_results([tmp_path / "part.json"], key)
    begin(page, folder, reader="R8")
    page.run(f"load({json.dumps(saved)})")
    assert page.run("[state.reader, state.at, done()]") == ["R7", 1, 1]
    edited = saved.replace('"confidence":5', '"confidence":1')
    assert edited != saved
    message = page.run(f"(() => {{ try {{ load({json.dumps(edited)}); }} catch (e) {{ return e.message; }} }})()")
    assert "edited" in message


@needs_chromium
def test_a_page_with_other_images_does_not_begin_and_an_edited_one_is_noticed(browser, study, tmp_path):
    page, (_, folder, key) = browser, study
    html = (folder / "reader_study.html").read_text(encoding="utf-8")
    at = html.index('id="images">') + 200
    (tmp_path / "reader_study.html").write_text(html[:at] + ("A" if html[at] != "A" else "B") + html[at + 1:])
    page.open((tmp_path / "reader_study.html").as_uri())
    assert "damaged" in page.run("document.querySelector('#alert').textContent")
    assert page.run("document.querySelector('#go').disabled")
    (tmp_path / "edited.html").write_text(html.replace("Grey background", "Nice background"))
    page.open((tmp_path / "edited.html").as_uri())
    assert page.run("PAGE") != key.page
    page.open((folder / "reader_study.html").as_uri())
    assert page.run("PAGE") == key.page
