"""Fingers, pen and keyboard alone do all that a mouse does."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tests.annotation_browser import (
    PHONE,
    begin,
    handed_in,
    kept,
    mask_of,
    place,
    seen,
    wait_for_another,
    wait_until_kept,
)
from tests.study_browser import DESKTOP, visit


class Fingers:
    """Touches of the devtools protocol, in picture coordinates."""

    def __init__(self, page, site, ratio: float) -> None:
        self.session, self.corner = page.context.new_cdp_session(page), place(page, site, ratio)

    def send(self, kind: str, *points: tuple[float, float], at: float | None = None) -> None:
        """Sends one event; ``at`` is its time in seconds since 1970, else now."""
        left, top, scale = self.corner
        places = [{"x": left + x * scale, "y": top + y * scale, "id": number} for number, (x, y) in enumerate(points)]
        time_stamp = {} if at is None else {"timestamp": at}
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places, **time_stamp})

    def stroke(self, *points: tuple[float, float]) -> None:
        self.send("touchStart", points[0])
        for point in points[1:]:
            self.send("touchMove", point)
        self.send("touchEnd")


class Pen(Fingers):
    def pen(self, kind: str, x: float, y: float, force: float) -> None:
        left, top, scale = self.corner
        event = {"type": kind, "x": left + x * scale, "y": top + y * scale, "button": "left", "buttons": 1}
        self.session.send("Input.dispatchMouseEvent", {**event, "pointerType": "pen", "force": force, "clickCount": 1})

    def draw(self, *points: tuple[float, float, float]) -> None:
        self.pen("mousePressed", *points[0])
        for point in points[1:]:
            self.pen("mouseMoved", *point)
        self.pen("mouseReleased", *points[-1])


def test_one_finger_paints_and_two_move_and_zoom(chromium, small_site):
    with visit(chromium, small_site, **PHONE) as page:
        state = begin(page, small_site)
        fingers = Fingers(page, small_site, 2)
        fingers.stroke((5, 5), (15, 10), (25, 10))
        (stroke,) = wait_until_kept(small_site, state["assignment"]["id"], 1)
        np.testing.assert_array_equal(seen(page, small_site), mask_of(small_site, [stroke]))
        before = page.inner_text("#zoom")
        touched = time.time()
        fingers.send("touchStart", (15, 15), at=touched)
        fingers.send("touchStart", (15, 15), (20, 15), at=touched + 0.1)  # so soon after the first one: no stroke
        for spread in (2, 4, 6):
            fingers.send("touchMove", (15 - spread, 15), (20 + spread, 15))
        fingers.send("touchEnd")
        page.wait_for_function("(before) => document.getElementById('zoom').textContent !== before", arg=before)
        page.click("[data-command=fit]")
        np.testing.assert_array_equal(seen(page, small_site), mask_of(small_site, [stroke]))
        assert kept(small_site, state["assignment"]["id"]) == [stroke]
        page.tap("[data-command=erase]")
        fingers.stroke((15, 10))
        operations = wait_until_kept(small_site, state["assignment"]["id"], 2)
        np.testing.assert_array_equal(seen(page, small_site), mask_of(small_site, operations))
    assert stroke["points"][-1][:2] == pytest.approx([25, 10], abs=1)  # Chromium smooths touches over time


def test_a_pen_paints_by_its_pressure_and_then_a_finger_does_nothing(chromium, small_site):
    with visit(chromium, small_site, **{**DESKTOP, "has_touch": True}) as page:
        state = begin(page, small_site)
        pen = Pen(page, small_site, 1)
        page.fill("#size", "8")
        pen.draw((6, 10, 0.1), (20, 10, 0.5), (34, 10, 1.0))
        (stroke,) = wait_until_kept(small_site, state["assignment"]["id"], 1)
        assert stroke["pressure"]
        assert [point[3] for point in stroke["points"]] == pytest.approx([0.1, 0.5, 1.0], abs=0.01)
        expected = mask_of(small_site, [stroke])
        assert expected[:, 33].sum() > expected[:, 7].sum()
        np.testing.assert_array_equal(seen(page, small_site), expected)
        pen.stroke((5, 20), (30, 20))  # a palm
        page.wait_for_timeout(1100)
        pen.stroke((5, 20), (30, 20))  # a finger
        np.testing.assert_array_equal(seen(page, small_site), expected)
        page.click("[data-command=shortcuts]")
        page.uncheck("#pressure")
        page.keyboard.press("Escape")
        pen.draw((6, 24, 0.2), (30, 24, 0.9))
        operations = wait_until_kept(small_site, state["assignment"]["id"], 2)
        np.testing.assert_array_equal(seen(page, small_site), mask_of(small_site, operations))
    assert not operations[1]["pressure"]


def press(page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_a_picture_is_painted_and_handed_in_by_keyboard_alone(chromium, small_site):
    with visit(chromium, small_site, **DESKTOP) as page:
        state = begin(page, small_site)
        identity = state["assignment"]["id"]
        assert page.evaluate("document.activeElement.id") == "surface"
        press(page, "ArrowLeft", "ArrowUp")  # from the middle, (20.5, 15.5)
        page.keyboard.down(" ")
        press(page, *["ArrowRight"] * 3)
        page.keyboard.up(" ")
        press(page, "Shift+ArrowLeft", "Enter", *["ArrowDown"] * 4, "Enter")
        press(page, ".", "e", " ")
        press(page, "p", "ArrowRight", " ", "Shift+ArrowRight", " ", "Shift+ArrowDown", " ", "Enter")
        press(page, "x", "r", " ", "ArrowLeft", "ArrowLeft", "ArrowUp", " ")
        press(page, "u", "y")
        operations = wait_until_kept(small_site, identity, 7)
        press(page, "g")
        page.keyboard.type("1")
        for number in ("2", "9", "6"):
            press(page, "Tab")
            page.keyboard.type(number)
        press(page, "Tab", "Enter")
        operations = wait_until_kept(small_site, identity, 8)
        np.testing.assert_array_equal(seen(page, small_site), mask_of(small_site, operations))
        said = page.inner_text("#said")
        press(page, "Control+Enter")
        wait_for_another(page, identity)
    tools = ["brush", "brush", "erase", "polygon", "box", "undo", "redo", "box"]
    assert [each["tool"] for each in operations] == tools
    assert [point[:2] for point in operations[0]["points"]] == [[19.5 + step, 14.5] for step in range(4)]
    assert [point[:2] for point in operations[7]["points"]] == [[1, 2], [9, 6]]
    assert (operations[3]["mode"], operations[4]["mode"]) == ("add", "remove")
    assert said == "Box set"
    assert [each.outcome for each in handed_in(small_site, identity)] == ["regions"]


def test_single_letters_can_be_turned_off(chromium, small_site):
    with visit(chromium, small_site, **DESKTOP) as page:
        begin(page, small_site)
        press(page, "?")
        page.uncheck("#single-keys")
        press(page, "Escape", "e")
        assert page.get_attribute("body", "data-tool") == "brush"
        press(page, "?")
        assert not page.is_visible("#shortcuts-dialog")
