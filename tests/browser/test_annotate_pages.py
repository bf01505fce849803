"""Every page of an annotator: accessible, light, from our own server alone, at every width, in both languages."""

from __future__ import annotations

import pytest

from tests.annotation_browser import (
    DRAWN,
    PHONE,
    Hand,
    begin,
    finish,
    get_state,
    wait_for_another,
    wait_until_saved,
    weight,
)
from tests.study_browser import DESKTOP, assert_accessible, visit

PAGE_LIMIT = 150_000
LOOKS = [(DESKTOP, "light"), (DESKTOP, "dark"), (PHONE, "light"), (PHONE, "dark")]
HAND_IN_AT_ONCE = """() => {
  if (!document.body.dataset.picture) return false;
  document.querySelector('[data-command=submit]').click();
  return ["flash", "time"].map((id) => document.getElementById(id).textContent);
}"""
TARGETS = """() => [...document.querySelectorAll('button, summary, input[type=range]')]
  .filter((each) => each.checkVisibility() && (each.offsetWidth < 44 || each.offsetHeight < 44))
  .map((each) => each.outerHTML)"""


def hand_in(page) -> None:
    page.wait_for_selector("[data-command=submit][aria-disabled=false]")
    page.click("[data-command=submit]")


def assert_fits(page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight + 1")
    assert page.evaluate(TARGETS) == []


@pytest.mark.parametrize(("device", "scheme"), LOOKS)
def test_every_page_is_accessible_and_fits(chromium, large_site, screenshots, axe_source, device, scheme):
    with visit(chromium, large_site, **device, color_scheme=scheme) as page:

        def look(name: str, *, full: bool = False) -> None:
            width = device["viewport"]["width"]
            page.screenshot(path=screenshots / f"annotate-{name}-{width}-{scheme}.png", full_page=full)
            if (device, scheme) != (PHONE, "dark"):  # the same colours as on the desktop, the same places as in light
                assert_accessible(page, axe_source)

        page.goto(f"{large_site.address}/annotate/")
        look("consent", full=True)
        state = begin(page, large_site)
        page.goto(f"{large_site.address}/annotate/instructions")
        look("instructions", full=True)
        page.goto(f"{large_site.address}/annotate/work")
        page.wait_for_selector(DRAWN)
        Hand(page, large_site, device.get("device_scale_factor", 1)).stroke((200, 160), (500, 180), (460, 400))
        page.keyboard.press("p")
        assert_fits(page)
        look("work")
        page.click("[data-command=shortcuts]")
        look("keys")
        page.keyboard.press("Escape")
        hand_in(page)
        page.wait_for_selector("#feedback:not([hidden])")
        look("feedback")
        finish(large_site, state["annotator"])
        page.goto(f"{large_site.address}/annotate/finish")
        assert page.inner_text("#code") == state["annotator"][-12:]
        look("finish")
        page.click("text=Withdraw and delete what I painted")
        page.wait_for_url("**/withdraw")
        look("withdraw")
        page.check("input[name=sure]")
        page.click("button.grave")
        page.wait_for_selector("text=Your data are deleted")
        look("withdrawn")
        page.complaints[:] = [each for each in page.complaints if "status of 410" not in each]  # the page says why


def test_practice_says_how_well_it_went_and_shows_what_was_expected(chromium, large_site):
    with visit(chromium, large_site, **DESKTOP) as page:
        state = begin(page, large_site)
        assert state["assignment"]["practice"]
        assert page.inner_text("#place") == "Practice"
        page.keyboard.press("r")
        Hand(page, large_site).stroke((200, 150), (600, 450))
        hand_in(page)
        page.wait_for_selector("#feedback:not([hidden])")
        share = int(page.inner_text("#feedback-share").split()[0])
        assert share > 97
        assert page.inner_text("#feedback-text")
        page.click("#feedback button")
        wait_for_another(page, state["assignment"]["id"])
        assert not get_state(page)["assignment"]["practice"]
        assert page.is_hidden("#feedback")


def test_the_drawing_page_is_light_and_comes_from_us_alone(chromium, small_site):
    with visit(chromium, small_site, **DESKTOP) as page:
        begin(page, small_site)
        known = page.context.storage_state()
    context = chromium.new_context(**DESKTOP, storage_state=known)  # the annotator, and nothing in the cache
    page, replies = context.new_page(), []

    def note(reply):  # a method of a list cannot be listened with
        replies.append(reply)

    page.on("response", note)
    page.goto(f"{small_site.address}/annotate/work")
    page.wait_for_selector(DRAWN)
    Hand(page, small_site).click(20, 15)
    wait_until_saved(page)
    others = [reply for reply in replies if "/pictures/" not in reply.url]
    sent = {reply.url: weight(reply) for reply in others if reply.status == 200}
    context.close()
    assert all(reply.url.startswith(small_site.address) for reply in replies)
    assert any(url.endswith("annotate.js") for url in sent)
    assert 15_000 < sum(sent.values()) <= PAGE_LIMIT


def test_the_pages_are_german_for_who_reads_german(chromium, small_site):
    with visit(chromium, small_site, **DESKTOP, locale="de-DE") as page:
        begin(page, small_site)
        assert page.get_attribute("html", "lang") == "de"
        assert page.inner_text("#place") == "Bild 1 von 20"
        assert page.inner_text("[data-command=erase]") == "Radierer"
        page.keyboard.press("s")
        assert page.is_visible("text=Das Bild ist beschädigt oder leer")


def test_a_hurried_annotator_is_asked_to_look_a_moment_longer(chromium, large_site):
    with visit(chromium, large_site, **DESKTOP) as page:
        state = begin(page, large_site)
        page.reload()
        flash, time = page.wait_for_function(HAND_IN_AT_ONCE).json_value()
        assert flash == "Please take a moment longer to look at the picture."
        assert time == "2 more seconds to look at it"
        Hand(page, large_site).click(300, 300)
        hand_in(page)
        page.click("#feedback button")
        wait_for_another(page, state["assignment"]["id"])
