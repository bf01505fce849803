"""A participant in a real browser: what the browser tests of the study do in it, and what the database says then."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from contextlib import contextmanager

import numpy as np
from sqlalchemy import select

from study_app.models import PlannedTrial, Response, Session
from tests.study_site import close, make_app

DESKTOP = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 3, "has_touch": True, "is_mobile": True}
NEXT = ".trial[data-phase=answering], .trial[data-phase=rating], #task button.primary, body:not(.study)"
READ_CANVAS = """() => {
  const canvas = document.querySelector('.trial canvas');
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let text = '';
  for (let at = 0; at < data.length; at += 32768) text += String.fromCharCode(...data.subarray(at, at + 32768));
  const box = canvas.getBoundingClientRect();
  return {width: canvas.width, height: canvas.height, css: box.width, left: box.left, top: box.top, data: btoa(text)};
}"""
MEET = "(found) => { found.dataset.met = ''; return found.dataset.phase ?? null; }"  # its mark: no later trial has it
COME = """(count) => performance.getEntriesByType('resource')
  .filter(({ name, responseEnd }) => name.includes('/pictures/') && responseEnd > 0).length >= count"""
FETCH_BASE64 = """async (url) => {
  const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
  let text = '';
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  return btoa(text);
}"""


@contextmanager
def visit(chromium, site, **options):
    """Yields a page whose console errors and requests to other origins fail the test."""
    context = chromium.new_context(**options)
    page = new_page(context, site)
    yield page
    context.close()
    assert page.complaints == []


def new_page(context, site):
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.complaints = complaints = []
    page.on("console", lambda line: complaints.append(line.text) if is_complaint(line) else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(site.address) else complaints.append(request.url))
    return page


def is_complaint(line) -> bool:
    """Whether a line of the console is an error or a warning; the tests reading the canvas back is none."""
    return line.type in ("error", "warning") and "willReadFrequently" not in line.text


def let_pass(page, seconds: int) -> None:
    """Lets time pass by the page's clock, which must be installed; what it asks of the network has its real time."""
    for _ in range(seconds):
        page.clock.run_for(1000)
        page.wait_for_timeout(20)


def forgive(page, *, cut_off: bool) -> None:
    """Drops what a browser complains of while there is no connection, after seeing that it did."""
    kept = [each for each in page.complaints if "net::ERR_" not in each]
    assert cut_off == (len(kept) < len(page.complaints))
    page.complaints[:] = kept


def wait_until(page, holds: Callable[[], bool], seconds: float = 60) -> None:
    """Lets the browser go on until something holds here, in the test."""
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        page.wait_for_timeout(20)
    assert holds()


def consent(page, site) -> None:
    page.goto(site.address)
    page.check("input[name=consent]")
    page.click("button.primary")
    page.wait_for_url("**/study")
    page.wait_for_selector("#task h2")


def go_on(page) -> None:
    page.click("#task button.primary")


def wait_for_picture(page) -> None:
    page.wait_for_selector(".trial[data-phase=answering]")


def wait_for_pictures(page, count: int) -> None:
    """Waits until so many pictures have come to this page, shown or fetched ahead."""
    page.wait_for_function(COME, arg=count)


def press(page, side: str = "left") -> None:
    answer_by(page, "f" if side == "left" else "j")


def answer_by(page, key: str) -> None:
    """Presses a key and waits until the trial took it; the next one may stand there by then."""
    page.eval_on_selector(".trial[data-phase=answering]", MEET)
    page.keyboard.press(key)
    page.wait_for_selector(".trial[data-met][data-phase=answering]", state="detached")


def get_state(page) -> dict:
    return page.evaluate("fetch('/api/v1/state').then((reply) => reply.json())")


def wait_until_saved(page) -> None:
    page.wait_for_function("() => document.getElementById('saving').textContent === ''")


def play(
    page,
    answer: Callable,
    *,
    rate: Callable = lambda page: None,
    each: Callable = lambda phase, index: None,
    trials=None,
) -> None:
    """Answers the trials from here to the last page, or the next ``trials``; ``each`` looks on before each input."""
    index = 0
    while trials is None or index < trials:
        found = page.wait_for_selector(NEXT, state="attached")
        phase = found.evaluate(MEET)
        if phase is None:
            if page.query_selector("body.study") is None:
                return
            each("screen", index)
            go_on(page)
            continue
        each(phase, index)
        (rate if phase == "rating" else answer)(page)
        page.wait_for_selector(f".trial[data-met][data-phase={phase}]", state="detached")
        index += phase == "answering"


def assert_accessible(page, axe_source) -> None:
    page.evaluate(axe_source)
    rules = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]
    found = page.evaluate("(rules) => axe.run(document, {runOnly: rules})", rules)
    assert found["passes"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]] == []


def read_canvas(page) -> tuple[dict, np.ndarray]:
    """Returns where the canvas is, in CSS pixels, and its own pixels."""
    drawn = page.evaluate(READ_CANVAS)
    pixels = np.frombuffer(base64.b64decode(drawn["data"]), np.uint8).reshape(drawn["height"], drawn["width"], 4)
    assert (pixels[..., 3] == 255).all()
    return drawn, pixels[..., :3]


def fetch(page, url: str) -> bytes:
    return base64.b64decode(page.evaluate(FETCH_BASE64, url))


def kept(site, session_id: str) -> list[Response]:
    """Returns the session's answers in the database, in the order in which they came."""
    return _rows(site, select(Response).join(Session, Session.id == Response.session_id), session_id, Response.id)


def wait_until_kept(site, session_id: str, count: int, seconds: float = 60) -> list[Response]:
    """Returns the session's answers once there are ``count``: they are sent while the task goes on."""
    deadline = time.monotonic() + seconds
    while len(rows := kept(site, session_id)) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(rows) == count
    return rows


def planned(site, session_id: str) -> list[PlannedTrial]:
    """Returns the session's plan in the order of showing."""
    return _rows(site, select(PlannedTrial).join(PlannedTrial.session), session_id, PlannedTrial.position)


def _rows(site, query, session_id: str, order) -> list:
    app = make_app(site._database_url)
    with app.extensions["percepsilon_database"].reading() as reader:
        found = list(reader.scalars(query.where(Session.public_id == session_id).order_by(order)))
    close(app)
    return found
