"""Painting in a real browser: what the page shows and what the server makes of it are one mask, to the pixel."""

from __future__ import annotations

import numpy as np
import pytest

from tests.annotation_browser import (
    Hand,
    alphas,
    begin,
    exported,
    handed_in,
    kept,
    mask_of,
    place,
    seen,
    wait_for_another,
    wait_until_kept,
    wait_until_saved,
)
from tests.study_browser import DESKTOP, visit


def covered(points, radius: float, size: tuple[int, int]) -> np.ndarray:
    """Which pixels' centres lie no further than ``radius`` from a line, asked of each pixel by itself."""
    mask = np.zeros(size[::-1], dtype=np.bool_)
    for row in range(size[1]):
        for column in range(size[0]):
            centre = np.asarray([column + 0.5, row + 0.5])
            mask[row, column] = any(
                distance(centre, *(np.asarray(end[:2]) for end in ends)) <= radius
                for ends in zip(points, points[1:] or points, strict=False)
            )
    return mask


def distance(centre: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    along, square = other - one, float((other - one) @ (other - one))
    share = 0.0 if square == 0 else min(1.0, max(0.0, float((centre - one) @ along) / square))
    return float(np.hypot(*(centre - one - share * along)))


@pytest.mark.parametrize("ratio", [1, 1.5, 2])
def test_a_mask_is_the_same_on_the_page_on_the_server_and_by_hand(chromium, small_site, tmp_path, ratio):
    with visit(chromium, small_site, **DESKTOP, device_scale_factor=ratio) as page:
        state = begin(page, small_site)
        hand = Hand(page, small_site, ratio)
        hand.stroke((6.25, 7.5), (22.5, 12.25), (18.75, 22.5))
        (stroke,) = wait_until_kept(small_site, state["assignment"]["id"], 1)
        expected = covered(stroke["points"], stroke["size"] / 2, small_site.size)
        assert (stroke["tool"], stroke["pressure"]) == ("brush", False)
        assert expected.sum() > 40
        np.testing.assert_array_equal(mask_of(small_site, [stroke]), expected)
        np.testing.assert_array_equal(seen(page, small_site), expected)
        hand.use("erase")
        hand.stroke((14, 10), (14, 20))
        hand.use("box")
        hand.stroke((28.3, 4.6), (37.7, 11.2))
        hand.use("polygon")
        for corner in ((30, 16), (38, 20), (33, 28), (24, 27)):
            hand.click(*corner)
        hand.click(30, 16)
        operations = wait_until_kept(small_site, state["assignment"]["id"], 4)
        assert [each["tool"] for each in operations] == ["brush", "erase", "box", "polygon"]
        expected = mask_of(small_site, operations)
        np.testing.assert_array_equal(seen(page, small_site), expected)
        page.click("[data-command=submit]")
        wait_for_another(page, state["assignment"]["id"])
    (submission,) = handed_in(small_site, state["assignment"]["id"])
    assert (submission.outcome, submission.mask_pixels) == ("regions", expected.sum())
    np.testing.assert_array_equal(exported(small_site, state["assignment"]["id"], tmp_path / "set"), expected)


def test_a_click_without_a_drag_is_a_dab(chromium, small_site):
    with visit(chromium, small_site, **DESKTOP) as page:
        state = begin(page, small_site)
        hand = Hand(page, small_site)
        hand.click(20, 15)
        (stroke,) = wait_until_kept(small_site, state["assignment"]["id"], 1)
        assert len(stroke["points"]) == 1
        dab = covered(stroke["points"], stroke["size"] / 2, small_site.size)
        assert dab[14:16, 19:21].all()
        np.testing.assert_array_equal(seen(page, small_site), dab)
        hand.use("erase")
        hand.click(20, 15)
        assert not seen(page, small_site).any()


def test_fifty_steps_are_undone_and_done_again(chromium, small_site):
    with visit(chromium, small_site, **DESKTOP) as page:
        state = begin(page, small_site)
        hand, shown = Hand(page, small_site), []
        for step in range(50):
            if step % 3 == 0:
                hand.use("erase" if step % 2 else "brush")
            hand.click(2 + (7 * step) % 37, 2 + (5 * step) % 27)
            if step % 10 == 9:
                shown.append(seen(page, small_site))
        for step in range(50):
            if step % 10 == 0:
                np.testing.assert_array_equal(seen(page, small_site), shown[4 - step // 10])
            page.keyboard.press("Control+z")
        assert not seen(page, small_site).any()
        assert page.get_attribute("[data-command=undo]", "aria-disabled") == "true"
        page.keyboard.press("Control+z")  # nothing is left: nothing is sent
        for step in range(50):
            page.keyboard.press("Control+Shift+z" if step % 2 else "Control+y")
        np.testing.assert_array_equal(seen(page, small_site), shown[-1])
        operations = wait_until_kept(small_site, state["assignment"]["id"], 150)
    assert [each["tool"] for each in operations[50:]] == ["undo"] * 50 + ["redo"] * 50
    np.testing.assert_array_equal(mask_of(small_site, operations), shown[-1])


def test_clearing_can_be_undone_and_comparing_hides_the_paint(chromium, small_site):
    with visit(chromium, small_site, **DESKTOP) as page:
        begin(page, small_site)
        hand = Hand(page, small_site)
        hand.stroke((5, 5), (30, 20))
        painted = seen(page, small_site)
        page.fill("#opacity", "100")
        assert set(np.unique(alphas(page))) == {0, 255}
        page.keyboard.press("o")
        assert 230 in np.unique(alphas(page))
        hand.use("clear")
        assert not seen(page, small_site).any()
        page.keyboard.press("u")
        np.testing.assert_array_equal(seen(page, small_site), painted)
        page.keyboard.press("c")
        assert not seen(page, small_site).any()
        assert page.get_attribute("#compare", "aria-pressed") == "true"
        page.click("#compare")
        np.testing.assert_array_equal(seen(page, small_site), painted)
        page.hover("#compare")
        page.mouse.down()
        assert not seen(page, small_site).any()
        page.wait_for_timeout(350)  # longer than a click: held
        page.mouse.up()
        np.testing.assert_array_equal(seen(page, small_site), painted)


def test_a_shape_takes_away_and_is_given_up(chromium, small_site):
    with visit(chromium, small_site, **DESKTOP) as page:
        state = begin(page, small_site)
        hand = Hand(page, small_site)
        hand.use("box")
        hand.stroke((4, 4), (36, 26))
        hand.use("polygon")
        hand.use("mode")
        for corner in ((10, 10), (30, 10), (30, 20)):
            hand.click(*corner)
        page.keyboard.press("u")  # takes back a corner, not the box
        hand.click(20, 22)
        hand.use("close-shape")
        hand.click(5, 5)
        hand.use("cancel-shape")
        operations = wait_until_kept(small_site, state["assignment"]["id"], 2)
        np.testing.assert_array_equal(seen(page, small_site), mask_of(small_site, operations))
    assert [(each["tool"], each["mode"]) for each in operations] == [("box", "add"), ("polygon", "remove")]
    assert [point[:2] for point in operations[1]["points"]] == [[10, 10], [30, 10], [20, 22]]


def test_what_is_painted_while_zoomed_lies_where_it_was_painted(chromium, large_site):
    with visit(chromium, large_site, **DESKTOP) as page:
        state = begin(page, large_site)
        left, top, scale = place(page, large_site, 1)
        x, y = left + 300 * scale, top + 200 * scale
        page.mouse.move(x, y)
        for _ in range(4):
            page.mouse.wheel(0, -300)
        page.wait_for_function("() => parseInt(document.getElementById('zoom').textContent) > 400")
        zoomed = int(page.inner_text("#zoom").split()[0]) / 100
        assert zoomed == round(zoomed)  # whole device pixels
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 40 * zoomed, y, steps=5)
        page.mouse.up()
        page.keyboard.down(" ")  # with the mouse on the picture, the space bar moves it
        page.mouse.down()
        page.mouse.move(x + 40 * zoomed, y - 30 * zoomed, steps=3)
        page.mouse.up()
        page.keyboard.up(" ")
        page.mouse.click(x + 40 * zoomed, y)
        page.keyboard.press("0")
        operations = wait_until_kept(large_site, state["assignment"]["id"], 2)
    ends = [operations[0]["points"][0], operations[0]["points"][-1], operations[1]["points"][0]]
    for point, wanted in zip(ends, ((300, 200), (340, 200), (340, 230)), strict=True):
        assert point[:2] == pytest.approx(wanted, abs=1.0 + 1 / scale)


def test_a_line_over_the_edge_is_kept_and_paints_up_to_it(chromium, small_site):
    with visit(chromium, small_site, **DESKTOP) as page:
        state = begin(page, small_site)
        Hand(page, small_site).stroke((-0.4, 15), (41, 15), steps=6)
        operations = wait_until_kept(small_site, state["assignment"]["id"], 1)
        wait_until_saved(page)
        mask = seen(page, small_site)
    assert mask[15].all()
    np.testing.assert_array_equal(mask, mask_of(small_site, operations))
    assert kept(small_site, state["assignment"]["id"]) == operations
