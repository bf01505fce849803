"""Nothing that was painted is lost: reloads, no connection, two tabs; and what else can be said of a picture."""

from __future__ import annotations

import numpy as np

from tests.annotation_browser import (
    DRAWN,
    Hand,
    begin,
    get_state,
    give_back,
    handed_in,
    kept,
    mask_of,
    seen,
    wait_for_another,
    wait_until_kept,
    wait_until_saved,
)
from tests.study_browser import DESKTOP, forgive, new_page, visit


def test_a_reload_in_mid_stroke_keeps_the_stroke(chromium, small_site):
    with visit(chromium, small_site, **DESKTOP) as page:
        state = begin(page, small_site)
        hand = Hand(page, small_site)
        hand.stroke((5, 5), (12, 8))
        hand.press((6, 20), (14, 22), (25, 18), (30, 24), steps=10)
        page.wait_for_timeout(200)  # longer than between two keepings
        hand.page.mouse.move(*hand.at(31, 24))
        page.wait_for_timeout(100)
        painted = seen(page, small_site)
        page.reload()
        page.wait_for_selector(DRAWN)
        operations = wait_until_kept(small_site, state["assignment"]["id"], 2)
        np.testing.assert_array_equal(seen(page, small_site), painted)
        page.mouse.up()
        hand.stroke((30, 5), (35, 8))
        operations = wait_until_kept(small_site, state["assignment"]["id"], 3)
        np.testing.assert_array_equal(seen(page, small_site), mask_of(small_site, operations))
        page.reload()  # what was ended is not kept a second time
        page.wait_for_selector(DRAWN)
        wait_until_saved(page)
        np.testing.assert_array_equal(seen(page, small_site), mask_of(small_site, operations))
    assert kept(small_site, state["assignment"]["id"]) == operations


def test_without_connection_work_goes_on_and_is_sent_later_in_its_order(chromium, small_site):
    with visit(chromium, small_site, **DESKTOP) as page:
        state = begin(page, small_site)
        hand = Hand(page, small_site)
        page.context.set_offline(True)
        for row in range(4):
            hand.stroke((5, 4 + 6 * row), (30, 4 + 6 * row), steps=2)
        page.keyboard.press("u")
        page.wait_for_selector("#saving[data-state=offline] >> text=no connection: kept here, 5 to send")
        assert kept(small_site, state["assignment"]["id"]) == []
        page.context.set_offline(False)
        operations = wait_until_kept(small_site, state["assignment"]["id"], 5)
        wait_until_saved(page)
        forgive(page, cut_off=True)
        np.testing.assert_array_equal(seen(page, small_site), mask_of(small_site, operations))
    assert [each["tool"] for each in operations] == ["brush"] * 4 + ["undo"]
    assert [round(each["points"][0][1]) for each in operations[:4]] == [4, 10, 16, 22]


def test_handing_in_waits_until_all_is_saved(chromium, small_site):
    with visit(chromium, small_site, **DESKTOP) as page:
        state = begin(page, small_site)
        page.context.set_offline(True)
        Hand(page, small_site).stroke((5, 5), (30, 20))
        page.click("[data-command=submit]")
        page.wait_for_selector("#surface[aria-busy=true]")
        page.wait_for_selector("#saving[data-state=offline] >> text=1 to send")
        assert handed_in(small_site, state["assignment"]["id"]) == []
        page.context.set_offline(False)
        wait_for_another(page, state["assignment"]["id"])
        forgive(page, cut_off=True)
    (submission,) = handed_in(small_site, state["assignment"]["id"])
    assert submission.strokes == 1


def test_a_stroke_is_kept_once_though_its_acknowledgement_was_lost(chromium, small_site):
    with visit(chromium, small_site, **DESKTOP) as page:
        state, lost = begin(page, small_site), []

        def lose(route):
            route.fetch()
            lost.append(route.abort())

        page.route("**/strokes", lose, times=1)
        Hand(page, small_site).stroke((5, 5), (30, 20))
        wait_until_saved(page)
        forgive(page, cut_off=True)
    assert len(lost) == 1
    assert len(kept(small_site, state["assignment"]["id"])) == 1


def test_nothing_stands_out_and_skipping_are_answers(chromium, small_site):
    with visit(chromium, small_site, **DESKTOP) as page:
        first = begin(page, small_site)["assignment"]["id"]
        page.click("[data-command=submit]")
        page.wait_for_selector("#flash >> text=Nothing is painted yet")
        page.click("[data-command=none]")
        wait_for_another(page, first)
        second = get_state(page)["assignment"]["id"]
        Hand(page, small_site).click(20, 15)
        page.keyboard.press("n")
        page.click("#none-dialog .plain")
        assert page.inner_text("#place") == "Picture 2 of 20"
        page.keyboard.press("n")
        page.click("#none-dialog .primary")
        wait_for_another(page, second)
        third = get_state(page)["assignment"]["id"]
        page.keyboard.press("s")
        page.click("text=The picture is broken or empty")
        wait_for_another(page, third)
        assert page.inner_text("#place") == "Picture 4 of 20"
        fourth = get_state(page)["assignment"]["id"]
        page.keyboard.press("m")
        page.click("#past li:last-child button")
        page.wait_for_function("(id) => document.body.dataset.picture === id", arg=first)
        Hand(page, small_site).click(20, 15)
        page.reload()  # at once, and it is still this one, with what was painted
        page.wait_for_selector(DRAWN)
        assert page.get_attribute("body", "data-picture") == first
        page.click("[data-command=submit]")
        page.wait_for_function("(id) => document.body.dataset.picture === id", arg=fourth)
    assert [each.outcome for each in handed_in(small_site, first)] == ["none", "regions"]
    (none,) = handed_in(small_site, second)
    assert (none.outcome, none.mask_pixels) == ("none", 0)
    assert [each["tool"] for each in kept(small_site, second)] == ["brush", "clear"]
    (skipped,) = handed_in(small_site, third)
    assert (skipped.outcome, skipped.skip_reason) == ("skipped", "broken")


def test_a_note_of_a_reviewer_comes_with_what_was_painted(chromium, small_site):
    with visit(chromium, small_site, **DESKTOP) as page:
        first = begin(page, small_site)["assignment"]["id"]
        Hand(page, small_site).stroke((5, 5), (30, 20))
        page.click("[data-command=submit]")
        wait_for_another(page, first)
        give_back(small_site, first, "The tail, please.")
        page.reload()
        page.wait_for_selector(DRAWN)
        assert page.get_attribute("body", "data-picture") == first
        assert page.inner_text("#note") == "Please look at this again: The tail, please."
        np.testing.assert_array_equal(seen(page, small_site), mask_of(small_site, kept(small_site, first)))
        Hand(page, small_site).click(20, 25)
        page.click("[data-command=submit]")
        wait_for_another(page, first)
        assert page.is_hidden("#note")
    assert [(each.round, each.strokes) for each in handed_in(small_site, first)] == [(1, 1), (2, 2)]


def test_of_two_tabs_one_paints(chromium, small_site):
    with visit(chromium, small_site, **DESKTOP) as page:
        state = begin(page, small_site)
        Hand(page, small_site).click(20, 15)
        wait_until_saved(page)
        other = new_page(page.context, small_site)
        other.goto(f"{small_site.address}/annotate/work")
        other.click("#tabs-dialog button")
        other.wait_for_selector(DRAWN)
        Hand(other, small_site).click(5, 5)
        operations = wait_until_kept(small_site, state["assignment"]["id"], 2)
        page.wait_for_selector("#tabs-dialog[open]")
        np.testing.assert_array_equal(seen(other, small_site), mask_of(small_site, operations))
        assert other.complaints == []
