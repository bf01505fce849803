"""The researchers' pages in a real browser: live, by keyboard, on a phone, in the dark, and without a script."""

from __future__ import annotations

import io
import zipfile
from contextlib import contextmanager

import pytest

from study_app import create_app
from study_app.settings import Settings
from tests.staff_site import PASSWORD, make_account
from tests.study_browser import assert_accessible, let_pass, visit, wait_until
from tests.study_site import SMALL_PROTOCOL, Visitor, close

PROTOCOL = (
    SMALL_PROTOCOL.replace('"small"', '"ladder"')
    + """
[catch]
gross = 1
instructed = 1
[recruitment]
places = 30
[answer]
confidence = 4
"""
)
EMAIL = "owner@lab.example"
DESKTOP = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
PAGES = ("", "participants", "exports", "ledger", "team", "account")


@pytest.fixture(scope="module")
def lab(serve):
    """The site with people at every stage, and an owner."""
    site = serve(PROTOCOL)
    with app_of(site) as app:
        make_account(app, "owner", EMAIL)
        for trials, share in ((12, 4), (12, 3), (12, 2), (7, 2), (1, 2), (0, 1)):
            answer(app, trials, share)
    return site


@contextmanager
def app_of(site):
    app = create_app(Settings(database_url=site._database_url, instance=site._log.parent))
    yield app
    close(app)


def answer(app, trials: int, share: int) -> str:
    """Lets somebody answer so many trials, each ``share``-th with no; returns the session's id."""
    someone = Visitor(app)
    assert someone.consent().status_code == 303
    state = someone.state()
    for trial in state["trials"][:trials]:
        said = trial["instructed"] or ("no" if trial["index"] % share == 0 else "yes")
        confidence = None if trial["instructed"] else 3
        facts = {"response": said, "confidence": confidence, "rt_ms": 300.0 + 70 * trial["index"]}
        assert someone.answer(trial["index"], **facts).status_code == 201
    if trials == len(state["trials"]):
        assert someone.finish().status_code == 200
    return state["session_id"]


def sign_in(page, site) -> None:
    page.set_default_timeout(60_000)
    page.goto(f"{site.address}/admin/")
    page.wait_for_url("**/admin/sign-in")
    page.fill("[name=email]", EMAIL)
    page.fill("[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector("#live")


def assert_nothing_sticks_out(page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("desktop", DESKTOP),
        ("dark", {**DESKTOP, "color_scheme": "dark"}),
        ("phone", PHONE),
    ],
)
def test_every_page_is_accessible_and_fits(chromium, lab, screenshots, axe_source, name, options):
    with visit(chromium, lab, **options) as page:
        page.goto(f"{lab.address}/admin/sign-in")
        assert_accessible(page, axe_source)
        page.screenshot(path=screenshots / f"admin-sign-in-{name}.png", full_page=True)
        sign_in(page, lab)
        first = page.locator("#main table.list tbody th a").first
        for path in (*PAGES, "participant"):
            if path == "participant":
                page.goto(f"{lab.address}/admin/participants?status=finished")
                first.click()
                page.wait_for_selector("text=In the analysis")
            else:
                page.goto(f"{lab.address}/admin/{path}")
            assert_accessible(page, axe_source)
            assert_nothing_sticks_out(page)
            page.screenshot(path=screenshots / f"admin-{path or 'overview'}-{name}.png", full_page=True)


def test_the_numbers_move_without_a_reload_and_stop_when_told(chromium, lab):
    with visit(chromium, lab, **DESKTOP) as page:
        asked, answered = [], []
        page.on("request", lambda request: asked.append(request) if "/live" in request.url else None)
        page.on("requestfinished", lambda request: answered.append(request) if request in asked else None)
        page.clock.install()
        sign_in(page, lab)
        started = page.locator("dl.figures div", has_text="started").locator("dd")
        before = int(started.inner_text())
        page.evaluate("document.querySelector('h1').dataset.same = 'page'")
        with app_of(lab) as app:
            answer(app, 2, 2)
        let_pass(page, 4)
        page.wait_for_function(
            "(wanted) => [...document.querySelectorAll('dl.figures div')].some((each) => "
            "each.innerText.startsWith('started') && Number(each.querySelector('dd').innerText) === wanted)",
            arg=before + 1,
        )
        assert page.evaluate("document.querySelector('h1').dataset.same") == "page"
        page.uncheck("#refresh")
        wait_until(page, lambda: len(answered) == len(asked) > 0)  # one may have been under way
        told = len(asked)
        shown = page.inner_text(".as-of")
        let_pass(page, 9)
        assert (len(asked), page.inner_text(".as-of")) == (told, shown)


def test_a_page_whose_session_ended_says_so(chromium, lab):
    from sqlalchemy import delete

    from study_app.staff import StaffSession
    from tests.staff_site import database_of

    with visit(chromium, lab, **DESKTOP) as page:
        page.clock.install()
        sign_in(page, lab)
        with app_of(lab) as app, database_of(app).writing() as writer:
            writer.execute(delete(StaffSession))
        let_pass(page, 4)
        page.wait_for_selector("#trouble:has-text('You are signed out')")
        page.complaints[:] = [line for line in page.complaints if "401" not in line]  # the browser's own word for it


def test_by_keyboard_alone_somebody_is_left_out_and_taken_in_again(chromium, lab):
    with visit(chromium, lab, **DESKTOP) as page:
        sign_in(page, lab)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.goto(f"{lab.address}/admin/participants?status=finished")
        page.focus("#main table.list tbody th a")
        page.keyboard.press("Enter")
        page.wait_for_selector("[name=reason]")
        page.focus("[name=reason]")
        page.keyboard.type("Missed")
        page.keyboard.press("Tab")
        page.keyboard.type("by keyboard")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Left out of the analysis.")
        assert "by keyboard" in page.inner_text("#main")
        page.focus("text=Take in again")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Taken into the analysis again.")


def test_a_preview_begins_in_the_same_browser(chromium, lab):
    with visit(chromium, lab, **DESKTOP) as page:
        sign_in(page, lab)
        page.click("text=Preview")
        page.wait_for_url("**/study")
        assert page.evaluate("fetch('/api/v1/state').then((reply) => reply.json())")["preview"] is True
        page.goto(f"{lab.address}/admin/")
        page.click("text=Delete 1 preview")
        page.wait_for_selector("text=The previews are deleted.")
        assert "Delete 1 preview" not in page.inner_text("#main")


def test_an_export_is_taken_away_from_the_page(chromium, lab):
    with visit(chromium, lab, **DESKTOP) as page:
        sign_in(page, lab)
        page.goto(f"{lab.address}/admin/exports")
        page.click("text=Make an export of ladder")
        page.wait_for_selector("a:has-text('Download')", timeout=60_000)
        with page.expect_download() as download:
            page.click("a:has-text('Download')")
        with zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes())) as archive:
            assert "ladder/data/table-trials_data.csv" in archive.namelist()


def test_without_a_script_a_reload_shows_the_same_and_the_study_can_be_paused(chromium, lab):
    with visit(chromium, lab, java_script_enabled=False, **PHONE) as page:
        sign_in(page, lab)
        assert page.is_hidden("#freshness")
        assert page.locator("svg[role=img]").count() == 4
        page.click("button:has-text('Pause')")
        page.wait_for_selector(".pill.paused")
        page.click("button:has-text('Resume')")
        page.wait_for_selector(".pill.open")
        page.click("summary:has-text('Close')")
        page.click("button:has-text('Close the study')")  # the box is not ticked
        page.goto(f"{lab.address}/admin/")
        assert page.locator(".pill.open").count() == 1
