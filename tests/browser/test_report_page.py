"""The report's page in Chromium, wide and on a phone: nothing juts out, nothing is fetched, axe-core finds no fault."""

from __future__ import annotations

import pytest

from analysis import report
from tests.simulated_export import OBSERVERS_TOML, write_evaluation, write_export
from tests.study_browser import DESKTOP, PHONE


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
    for details in page.query_selector_all("details:not([open]) > summary"):
        details.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate(axe_source)
    found = page.evaluate("axe.run()")["violations"]
    assert [(each["id"], [node["html"][:120] for node in each["nodes"][:3]]) for each in found] == []
    assert asked == [page_file.as_uri()]
    context.close()
