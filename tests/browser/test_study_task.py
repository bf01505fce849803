"""A participant in a real browser: whole sessions, exact pixels, nothing lost, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
from contextlib import contextmanager

import numpy as np
import pytest

from core import manifest, pictures

TRIALS, PRACTICE, BLOCK = 10, 2, 4
MARGIN = 2
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
READ_CANVAS = """() => {
  const canvas = document.querySelector('.trial canvas');
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let text = '';
  for (let at = 0; at < data.length; at += 32768) text += String.fromCharCode(...data.subarray(at, at + 32768));
  const box = canvas.getBoundingClientRect();
  return {width: canvas.width, height: canvas.height, css: box.width, left: box.left, top: box.top, data: btoa(text)};
}"""

FETCH_BASE64 = """async (url) => {
  const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
  return btoa(String.fromCharCode(...bytes));
}"""


@contextmanager
def visit(chromium, site, **options):
    """Yields a page whose console errors and requests to other origins fail the test."""
    context = chromium.new_context(**options)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda line: complaints.append(line.text) if line.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request", lambda request: complaints.append(request.url) if not request.url.startswith(site.address) else None
    )
    page.complaints = complaints
    yield page
    context.close()
    assert complaints == []


def consent(page, site):
    page.goto(site.address)
    page.check("input[name=consent]")
    page.click("button.primary")
    page.wait_for_url("**/study")


def go_on(page):
    page.click("#task button.primary")


def wait_for_picture(page):
    page.wait_for_selector(".trial[data-phase=answering]")


def assert_accessible(page, axe_source):
    page.evaluate(axe_source)
    found = page.evaluate(
        "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice']})"
    )
    assert found["passes"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]] == []


def play(page, answer, *, each=lambda index: None):
    """Answers all trials from the instructions on, with the screens between."""
    go_on(page)
    for index in range(TRIALS):
        if index == PRACTICE or (index > PRACTICE and (index - PRACTICE) % BLOCK == 0):
            go_on(page)
        wait_for_picture(page)
        each(index)
        answer(page)
    page.wait_for_url("**/finish")


def exported_answers(site, session_id):
    from sqlalchemy import select

    from study_app.models import Response, Session
    from tests.study_site import close, make_app

    app = make_app(site._database_url)
    with app.extensions["percepsilon_database"].reading() as reader:
        query = select(Response).join(Session, Session.id == Response.session_id).where(Session.public_id == session_id)
        found = list(reader.scalars(query.order_by(Response.trial_index)))
    close(app)
    return found


def session_id(page) -> str:
    return page.evaluate("fetch('/api/v1/state').then((reply) => reply.json())")["session_id"]


@pytest.mark.parametrize(
    ("width", "options", "press", "kind"),
    [
        (1280, DESKTOP, lambda page: page.keyboard.press("f"), "keyboard"),
        (390, PHONE, lambda page: page.tap(".answers button[data-value=yes]"), "touch"),
    ],
)
def test_a_whole_session_to_the_completion_code(chromium, site, screenshots, axe_source, width, options, press, kind):
    with visit(chromium, site, **options) as page:
        page.goto(site.address)
        assert_accessible(page, axe_source)
        page.screenshot(path=screenshots / f"consent-{width}.png", full_page=True)
        consent(page, site)
        page.wait_for_selector("#task h2")
        assert_accessible(page, axe_source)
        page.screenshot(path=screenshots / f"instructions-{width}.png", full_page=True)
        session = session_id(page)

        def look(index):
            if index in (0, 3):
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
                assert page.evaluate("document.querySelector('.answers').getBoundingClientRect().bottom <= innerHeight")
                assert (
                    page.evaluate(
                        "Math.min(...[...document.querySelectorAll('.answers button')].map((b) => b.offsetHeight))"
                    )
                    >= 44
                )
                page.screenshot(path=screenshots / f"trial-{index}-{width}.png")
            if index == 3:
                assert_accessible(page, axe_source)

        play(page, press, each=look)
        assert_accessible(page, axe_source)
        page.screenshot(path=screenshots / f"finish-{width}.png", full_page=True)
        assert len(page.text_content("#code")) == 14
        kept = exported_answers(site, session)
    assert [row.trial_index for row in kept] == list(range(TRIALS))
    assert {row.input_type for row in kept} == {kind}
    assert all(0 < row.rt_ms < 60_000 and row.frames_shown >= 1 and row.attempt == 1 for row in kept)
    assert any(row.rt_ms != round(row.rt_ms) for row in kept)


@pytest.mark.parametrize(("ratio", "scale"), [(1, 10), (1.5, 15), (1.25, 13)])
def test_every_picture_pixel_is_a_square_of_device_pixels_of_its_colour(chromium, site, shown_set, ratio, scale):
    files = manifest.read_set(shown_set)
    with visit(chromium, site, **DESKTOP, device_scale_factor=ratio) as page:
        consent(page, site)
        page.wait_for_selector("#task h2")
        state = page.evaluate("fetch('/api/v1/state').then((reply) => reply.json())")
        go_on(page)
        wait_for_picture(page)
        drawn = page.evaluate(READ_CANVAS)
        photograph = page.screenshot(scale="device")
        encoded = page.evaluate(
            FETCH_BASE64,
            state["trials"][0]["pictures"][0],
        )
    png = base64.b64decode(encoded)
    assert hashlib.sha256(png).hexdigest() in files.by_hash()
    expected = pictures.decode(png, "served").repeat(scale, axis=0).repeat(scale, axis=1)
    expected = np.pad(expected, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), constant_values=128)  # the surround
    assert (drawn["height"], drawn["width"]) == expected.shape[:2]
    assert drawn["css"] == pytest.approx(expected.shape[1] / ratio, abs=1 / 64)
    canvas = np.frombuffer(base64.b64decode(drawn["data"]), np.uint8).reshape(*expected.shape[:2], 4)
    assert (canvas[..., 3] == 255).all()
    np.testing.assert_array_equal(canvas[..., :3], expected)

    left, top = drawn["left"] * ratio, drawn["top"] * ratio
    assert (left, top) == pytest.approx((round(left), round(top)), abs=0.02)
    screen = pictures.decode(photograph, "screenshot")
    seen = screen[round(top) : round(top) + len(expected), round(left) : round(left) + expected.shape[1]]
    np.testing.assert_array_equal(seen, expected)


def test_a_reload_in_a_trial_goes_on_there_and_counts_the_attempt(chromium, site):
    with visit(chromium, site, **DESKTOP) as page:
        consent(page, site)
        session = session_id(page)
        go_on(page)
        wait_for_picture(page)
        page.keyboard.press("j")
        page.wait_for_function("() => document.querySelector('progress').value > 0.05")
        wait_for_picture(page)
        page.reload()
        page.wait_for_selector("text=Welcome back")
        go_on(page)
        wait_for_picture(page)
        page.keyboard.press("j")
        page.wait_for_selector("text=That was the practice")
        kept = exported_answers(site, session)
    assert [(row.trial_index, row.attempt) for row in kept] == [(0, 1), (1, 2)]


def test_answers_given_while_the_server_is_away_arrive_later_in_order(chromium, site):
    with visit(chromium, site, **DESKTOP) as page:
        consent(page, site)
        session = session_id(page)
        go_on(page)
        for _ in range(PRACTICE):
            wait_for_picture(page)
            page.keyboard.press("f")
        go_on(page)
        wait_for_picture(page)
        page.context.set_offline(True)
        for _ in range(BLOCK):
            wait_for_picture(page)
            page.keyboard.press("f")
        page.wait_for_selector("text=saving… 4 left")
        page.context.set_offline(False)
        page.wait_for_function("() => document.getElementById('saving').textContent === ''")
        kept = exported_answers(site, session)
        page.complaints[:] = [each for each in page.complaints if "ERR_INTERNET_DISCONNECTED" not in each]
    assert [row.trial_index for row in kept] == list(range(PRACTICE + BLOCK))


def test_what_the_browser_gets_before_an_answer_tells_nothing(chromium, site):
    told = []
    with visit(chromium, site, **DESKTOP) as page:
        page.on("response", lambda reply: told.append(reply) if "/api/" in reply.url else None)
        consent(page, site)
        go_on(page)
        wait_for_picture(page)
        bodies = [reply.text() for reply in told if reply.url.endswith("/state")]
        lengths = {reply.headers["content-length"] for reply in told if "/pictures/" in reply.url}
    assert bodies
    assert not [word for word in ("eps", "sha256", "stimulus", "pgd", "correct") if word in "".join(bodies)]
    assert len(lengths) == 1
    assert json.loads(bodies[0])["next_index"] == 0
