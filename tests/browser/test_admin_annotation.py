"""The researchers' pages of an annotation task in a real browser: accessible, at every width, and by keyboard."""

from __future__ import annotations

import pytest

from benchmarks.study_site import free_port
from tests import annotation_site
from tests.annotation_site import Painter, box, brush
from tests.staff_site import PASSWORD, make_account
from tests.study_browser import assert_accessible, visit
from tests.study_site import Server, close, make_app

EMAIL = "owner@lab.example"
SCREENS = {
    "desktop": {"viewport": {"width": 1280, "height": 900}},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A task with three annotators, one of whom left in the middle, behind the real server."""
    folder = tmp_path_factory.mktemp("lab")
    url = f"sqlite:///{folder / 'study.sqlite'}"
    pictures = annotation_site.make_pictures(folder / "noise")
    text = annotation_site.task_text(k=3, more="[gold]\nshare = 0.1")
    annotation_site.set_up(url, pictures, text, gold=True)
    app = make_app(url)
    make_account(app, "owner", EMAIL)
    for number in range(3):
        painter = Painter(app)
        painter.consent()
        while painter.state()["assignment"] is not None and (number < 2 or painter.state()["done"] < 2):
            painter.paint(box(right=12 + 2 * number), brush((3, 3), (9, 8)))
    close(app)
    server = Server(url, free_port(), folder / "server.log", direct=True).start()
    yield server
    server.kill()


def sign_in(page, lab) -> None:
    page.set_default_timeout(60_000)
    page.goto(f"{lab.address}/admin/sign-in")
    page.fill("[name=email]", EMAIL)
    page.fill("[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/")


@pytest.mark.parametrize("name", SCREENS)
def test_every_page_is_accessible_and_fits(chromium, lab, screenshots, axe_source, name):
    with visit(chromium, lab, **SCREENS[name]) as page:
        sign_in(page, lab)
        for step in ("task", "queue", "one"):
            match step:
                case "task":
                    page.goto(f"{lab.address}/admin/annotation")
                case "queue":
                    page.click("text=To the review queue")
                    page.wait_for_url("**/annotation/queue")
                case "one":
                    page.click("main table.list tbody th a >> nth=0")
                    page.wait_for_selector("img.overlay")
                    page.wait_for_function("() => document.querySelector('img.overlay').naturalWidth > 0")
            page.wait_for_load_state()
            assert_accessible(page, axe_source)
            assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
            page.screenshot(path=screenshots / f"admin-annotation-{step}-{name}.png", full_page=True)


def test_an_annotation_is_returned_by_keyboard_alone(chromium, lab):
    with visit(chromium, lab, **SCREENS["desktop"]) as page:
        sign_in(page, lab)
        page.goto(f"{lab.address}/admin/annotation/queue")
        page.focus("main table.list tbody th a >> nth=0")
        page.keyboard.press("Enter")
        page.wait_for_selector("#note")
        page.focus("#note")
        page.keyboard.type("the tail, too")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Returned: the annotator sees the note")
        page.select_option("select[name=state]", "returned")
        page.click("button:has-text('Show')")
        page.wait_for_url("**state=returned**")
        assert page.locator("main table.list tbody tr").count() == 1
