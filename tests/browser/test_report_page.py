"""The report's page in Chromium, wide and on a phone: nothing juts out, nothing is fetched, axe-core finds no fault."""

from __future__ import annotations

import pytest

from analysis import report
from tests.simulated_export import OBSERVERS_TOML, write_evaluation, write_export
from tests.study_browser import DESKTOP, PHONE

OPEN = "document.querySelectorAll('details').forEach((each) => { each.open = true; })"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    (folder / "observers.toml").write_text(OBSERVERS_TOML)
    runs = [str(write_evaluation(folder / run, run, half=half)) for run, half in (("standard", 2.0), ("pgd-at", 9.0))]
    export = write_export(folder / "export", participants=24, seed=5)
    options = ["--evaluations", *runs, "--observers", str(folder / "observers.toml"), "--bootstrap", "100"]
    assert report.main([str(export), *options, "--out", str(folder / "out")]) == 0
    return folder / "out" / "index.html"


@pytest.mark.parametrize("view", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_report_is_readable_at_every_width_and_by_everybody(chromium, axe_source, screenshots, page_file, view):
    context = chromium.new_context(**view)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    width = view["viewport"]["width"]
    page.screenshot(path=screenshots / f"report-{width}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate(OPEN)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate(axe_source)
    violations = [page.evaluate("axe.run()")["violations"]]
    page.emulate_media(color_scheme="dark")
    violations.append(page.evaluate("axe.run({ runOnly: ['color-contrast'] })")["violations"])
    for found in violations:
        assert [(each["id"], [node["html"][:120] for node in each["nodes"][:3]]) for each in found] == []
    assert asked == [page_file.as_uri()]
    context.close()


def test_no_table_of_a_report_has_to_be_pushed_sideways_on_a_desk_and_contents_are_a_tap_away_on_a_phone(
    chromium, page_file
):
    context = chromium.new_context(**DESKTOP)
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.evaluate(OPEN)
    wide = "[...document.querySelectorAll('.scroll')].filter((each) => each.scrollWidth > each.clientWidth + 1).length"
    assert page.evaluate(wide) == 0
    assert page.locator("nav a", has_text="Methods").is_visible()
    context.close()
    context = chromium.new_context(**PHONE)
    page = context.new_page()
    page.goto(page_file.as_uri())
    methods = page.locator("nav a", has_text="Methods")
    assert not methods.is_visible()
    page.locator("a.to-contents").tap()
    methods.tap()
    assert page.url.endswith("#methods")
    assert page.locator("#methods").is_visible()
    context.close()


def test_paper_gets_every_row_in_black_on_white_without_contents(chromium, page_file):
    context = chromium.new_context(**DESKTOP, color_scheme="dark")
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.emulate_media(media="print", color_scheme="dark")
    colours = page.evaluate(
        "['body', 'td'].map((name) => getComputedStyle(document.querySelector(name)))"
        ".map((style) => [style.color, style.backgroundColor])"
    )
    assert colours[0] == ["rgb(31, 41, 51)", "rgb(255, 255, 255)"]
    assert colours[1][0] == "rgb(31, 41, 51)"
    assert not page.locator("nav").is_visible()
    assert not page.locator("a.to-contents").is_visible()
    hidden = "[...document.querySelectorAll('details.long td')].filter((each) => each.clientHeight === 0).length"
    assert page.evaluate(hidden) == 0
    context.close()
