"""The pages around the task in a real browser: for everybody, by keyboard alone and by touch, in two languages."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select, update

from study_app.models import CheckResult, Protocol, Session
from study_app.participants import colour_plates, steps
from tests.study_browser import DESKTOP, PHONE, assert_accessible, let_pass, new_page, play, press, visit, wait_until
from tests.study_site import close, make_app

TINY = """
name = "pages"
seed = 5
minutes = 1
[practice]
trials = 0
[main]
trials = 2
block_trials = 2
[timing]
fixation_ms = 100
"""
STEPS = (
    TINY
    + """
[eligibility]
normal_vision = true
minimum_css_px = 320
input = "{input}"
colour_vision = true
calibration = true
"""
)
PLATFORM = (
    TINY
    + """
[recruitment]
platform = "prolific"
places = 1
complete_code = "C0FFEE"
screened_out_code = "SCREENED"
return_url = "https://platform.example/complete?cc={code}"
"""
)
WIDTHS = [("desktop", DESKTOP), ("phone", PHONE)]
DARK = {"color_scheme": "dark"}
FAILED = "Failed to load resource"
RETURN = "https://platform.example/complete?cc=C0FFEE"


@pytest.fixture
def look(axe_source, screenshots):
    """Looks at a page: accessible, not wider than the window, and what it says of its language; keeps a picture."""

    def at(page, name: str, language: str = "en") -> None:
        assert_accessible(page, axe_source)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        assert page.get_attribute("html", "lang") == language
        page.screenshot(path=screenshots / f"page-{name}.png", full_page=True)

    return at


@contextmanager
def database(site):
    app = make_app(site._database_url)
    with app.extensions["percepsilon_database"].writing() as writer:
        yield writer
    close(app)


def last_session(site) -> Session:
    with database(site) as reader:
        return reader.scalars(select(Session).order_by(Session.id.desc()).limit(1)).one()


def last_digits(site) -> tuple[str, ...]:
    with database(site) as reader:
        session = reader.scalars(select(Session).order_by(Session.id.desc()).limit(1)).one()
        return colour_plates.digits(steps.plates_seed(session))


def results(site) -> dict[str, CheckResult]:
    session = last_session(site)
    with database(site) as reader:
        return {
            row.name: row for row in reader.scalars(select(CheckResult).where(CheckResult.session_id == session.id))
        }


def tab_to(page, selector: str) -> None:
    """Presses Tab until the focus is on an element, as somebody without a mouse does; it must be seen there."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
            return
    pytest.fail(f"{selector} cannot be reached by the Tab key")


def consent_by_keyboard(page) -> None:
    tab_to(page, "input[name=consent]")
    page.keyboard.press("Space")
    tab_to(page, "button.primary")
    page.keyboard.press("Enter")
    page.wait_for_url(lambda address: urlsplit(address).path != "/")  # a goto before then is cut off by the form


@pytest.mark.parametrize(("width", "options"), WIDTHS)
def test_all_steps_by_keyboard_alone(chromium, serve, look, width, options):
    site = serve(STEPS.format(input="keyboard"))
    with visit(chromium, site, **options) as page:
        page.goto(site.address)
        look(page, f"consent-{width}")
        consent_by_keyboard(page)
        page.wait_for_url("**/steps/about-you")
        look(page, f"about-you-{width}")
        tab_to(page, "input[name=normal_vision]")
        page.keyboard.press("Space")
        tab_to(page, "button.primary")
        page.keyboard.press("Enter")
        page.wait_for_url("**/steps/device")
        page.wait_for_selector("#size.fits")
        look(page, f"device-{width}")
        page.keyboard.press("Space")
        page.wait_for_url("**/steps/colour-vision")
        look(page, f"colour-vision-{width}")
        for index, digit in enumerate(last_digits(site)):
            tab_to(page, f"#plate-{index}")
            page.keyboard.type(digit)
        page.keyboard.press("Enter")
        page.wait_for_url("**/steps/calibration")
        tab_to(page, "#card_css_px")
        for _ in range(4):
            page.keyboard.press("ArrowRight")
        look(page, f"calibration-{width}")
        size = float(page.input_value("#card_css_px"))
        box = page.locator("#card").bounding_box()
        assert max(box["width"], box["height"]) == pytest.approx(size, abs=0.02)
        assert min(box["width"], box["height"]) == pytest.approx(size * 53.98 / 85.6, abs=0.02)
        tab_to(page, "#distance_cm")
        page.keyboard.type("60")
        tab_to(page, "button.primary")
        page.keyboard.press("Enter")
        page.wait_for_url("**/study")
        kept = results(site)
    assert set(kept) == set(steps.ORDER)
    assert all(row.passed for row in kept.values())
    assert kept["device"].detail["input"] == "keyboard"
    assert kept["calibration"].detail == {"card_css_px": size, "css_px_per_mm": size / 85.6, "distance_cm": 60.0}


def test_all_steps_by_touch_alone(chromium, serve):
    site = serve(STEPS.format(input="touch"))
    with visit(chromium, site, **PHONE) as page:
        page.goto(site.address)
        page.tap("label.agree")
        page.tap("button.primary")
        page.tap("text=Yes, I see well")
        page.tap("button.primary")
        page.wait_for_url("**/steps/device")
        page.tap("#go-on")
        page.wait_for_url("**/steps/colour-vision")
        for index, digit in enumerate(last_digits(site)):
            page.tap(f"#plate-{index}")
            page.keyboard.type(digit)
        page.tap("button.primary")
        page.wait_for_url("**/steps/calibration")
        page.tap("text=I have no card at hand")
        page.wait_for_url("**/study")
        kept = results(site)
    assert kept["device"].detail["input"] == "touch"
    assert kept["calibration"].detail["card_css_px"] is None


def test_a_click_is_no_touch(chromium, serve, look):
    site = serve(STEPS.format(input="touch"))
    with visit(chromium, site, **DESKTOP) as page:
        page.goto(site.address)
        consent_by_keyboard(page)
        page.check("input[value=yes]")
        page.click("button.primary")
        page.wait_for_url("**/steps/device")
        page.click("#go-on")
        page.wait_for_selector("text=That was not a touch of the screen.")
        look(page, "device-refused")
        assert page.url.endswith("/steps/device")


def test_a_small_window_does_not_pass(chromium, serve, look):
    site = serve(STEPS.format(input="keyboard"))
    with visit(chromium, site, viewport={"width": 600, "height": 300}) as page:
        page.goto(site.address)
        consent_by_keyboard(page)
        page.check("input[value=yes]")
        page.click("button.primary")
        page.wait_for_url("**/steps/device")
        page.keyboard.press("Space")
        page.wait_for_selector("#size:focus >> text=Please make it larger")
        assert page.url.endswith("/steps/device")
        page.set_viewport_size({"width": 600, "height": 500})
        page.wait_for_selector("#size.fits")
        page.click("#cannot")
        page.wait_for_url("**/ended")
        look(page, "screened-out")
    assert last_session(site).end_reason == "screened-out"


def test_who_sees_no_digit_but_the_control_is_told_kindly(chromium, serve, look):
    site = serve(STEPS.format(input="any"))
    with visit(chromium, site, **DESKTOP, **DARK) as page:
        page.goto(site.address)
        look(page, "consent-dark")
        consent_by_keyboard(page)
        page.check("input[value=yes]")
        page.click("button.primary")
        page.wait_for_url("**/steps/device")
        page.click("#go-on")
        page.wait_for_url("**/steps/colour-vision")
        look(page, "colour-vision-dark")
        page.fill("#plate-0", last_digits(site)[0])
        page.click("button.primary")
        page.wait_for_url("**/ended")
        assert page.is_visible("text=It is not a test of your eyes.")
        page.goto(f"{site.address}/study")
        assert page.url.endswith("/ended")


def test_the_pages_in_german(chromium, serve, look):
    site = serve(STEPS.format(input="keyboard"))
    with visit(chromium, site, **PHONE, locale="de-AT") as page:
        page.goto(site.address)
        look(page, "consent-german", "de")
        assert page.is_visible("text=Bevor Sie beginnen")
        page.click("text=English")
        page.wait_for_selector("text=Before you begin")
        assert page.url == f"{site.address}/"
        page.click("text=Deutsch")
        page.wait_for_selector("text=Bevor Sie beginnen")
        page.check("input[name=consent]")
        page.click("button.primary")
        page.wait_for_selector("text=Zu Ihrem Sehen")
        page.check("input[value=yes]")
        page.click("button.primary")
        page.wait_for_url("**/steps/device")
        look(page, "device-german", "de")
        page.keyboard.press("Space")
        page.wait_for_url("**/steps/colour-vision")
        look(page, "colour-vision-german", "de")
        for index, digit in enumerate(last_digits(site)):
            page.fill(f"#plate-{index}", digit)
        page.click("button.primary")
        page.wait_for_url("**/steps/calibration")
        look(page, "calibration-german", "de")
        page.click("button.primary")
        page.wait_for_url("**/study")
        page.wait_for_selector("text=Was Sie tun werden")
        page.goto(f"{site.address}/withdraw")
        look(page, "withdraw-german", "de")


def test_withdrawing_by_keyboard_deletes_and_says_so(chromium, serve, look):
    site = serve(TINY)
    with visit(chromium, site, **DESKTOP) as page:
        page.goto(site.address)
        consent_by_keyboard(page)
        page.wait_for_url("**/study")
        page.goto(f"{site.address}/withdraw")
        look(page, "withdraw")
        tab_to(page, "input[name=sure]")
        page.keyboard.press("Space")
        tab_to(page, "button.primary")
        page.keyboard.press("Enter")
        page.wait_for_url("**/ended")
        look(page, "withdrawn")
        assert page.is_visible("text=Your data are deleted")
    assert last_session(site).end_reason == "withdrawn"


def see(page, address: str) -> None:
    """Opens a page that may come with an error's status; the browser's remark on that is no complaint."""
    if page.goto(address).status >= 400:
        forgive_status(page)


def forgive_status(page) -> None:
    """Drops the browser's remark on a page of an error's status, once it is there."""
    wait_until(page, lambda: any(FAILED in each for each in page.complaints))
    page.complaints[:] = [each for each in page.complaints if FAILED not in each]


def set_protocol(site, **values) -> None:
    with database(site) as writer:
        writer.execute(update(Protocol).values(**values))


@pytest.mark.parametrize(("width", "options"), WIDTHS)
def test_a_platforms_participant_from_the_link_to_the_way_back(chromium, serve, look, width, options):
    site = serve(PLATFORM + f"# {width}\n")
    with visit(chromium, site, **options) as page:
        see(page, site.address)
        assert page.is_visible("text=Please use your own link")
        look(page, f"link-{width}")
        set_protocol(site, paused_at=datetime.now(UTC))
        arriving = f"{site.address}/?PROLIFIC_PID=person-1&STUDY_ID=s&SESSION_ID=t"
        see(page, arriving)
        assert page.is_visible("text=A short pause")
        look(page, f"paused-{width}")
        set_protocol(site, paused_at=None)
        page.goto(arriving)
        assert page.url == f"{site.address}/"
        look(page, f"consent-platform-{width}")
        page.check("input[name=consent]")
        page.click("button.primary")
        page.wait_for_url("**/study")
        with visit(chromium, site, **options) as other:
            see(other, f"{site.address}/?PROLIFIC_PID=person-2")
            other.check("input[name=consent]")
            other.click("button.primary")
            other.wait_for_selector("text=The study is full")
            forgive_status(other)
            look(other, f"full-{width}")
        with visit(chromium, site, **options) as elsewhere:
            elsewhere.goto(arriving)
            look(elsewhere, f"continue-{width}")
            elsewhere.click("button.primary")
            elsewhere.wait_for_url("**/study")
            play(elsewhere, press)
            elsewhere.wait_for_url("**/finish")
            elsewhere.click("#stay")  # first of all: it leads away by itself
            assert elsewhere.is_visible("text=This page stays.")
            assert elsewhere.text_content("#code") == "C0FFEE"
            assert elsewhere.get_attribute("#onwards a", "href") == RETURN
            look(elsewhere, f"finish-{width}")
        set_protocol(site, closed_at=datetime.now(UTC))
        see(page, f"{site.address}/?lang=en")
        look(page, f"closed-{width}")
        see(page, f"{site.address}/nowhere")
        look(page, f"error-{width}")


def test_the_last_page_leads_back_to_the_platform_by_itself(chromium, serve):
    site = serve(PLATFORM + "# alone\n")
    context = chromium.new_context(**DESKTOP)
    context.route("https://platform.example/**", lambda route: route.fulfill(body="taken"))
    page = new_page(context, site)
    page.goto(f"{site.address}/?PROLIFIC_PID=person-1")
    page.check("input[name=consent]")
    page.click("button.primary")
    page.wait_for_url("**/study")
    play(page, press)
    page.wait_for_url("**/finish")
    page.clock.install()
    page.reload()
    let_pass(page, 9)
    assert page.url.endswith("/finish")
    with page.expect_request(RETURN) as asked:
        let_pass(page, 1)
    assert "referer" not in asked.value.headers
    page.wait_for_url(RETURN)
    context.close()


def test_a_card_fits_on_a_telephone_that_is_narrower_than_it(chromium, serve):
    site = serve(TINY + "[eligibility]\ncalibration = true\n")
    with visit(chromium, site, **PHONE) as page:
        page.goto(site.address)
        page.check("input[name=consent]")
        page.click("button.primary")
        page.wait_for_url("**/steps/calibration")
        page.focus("#card_css_px")
        page.keyboard.press("End")
        box = page.locator("#card").bounding_box()
        assert box["width"] < box["height"]
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        assert box["height"] > 85.6 * 6.5, "CSS pixels in a millimetre of a usual telephone: 5.5 to 6.5"


def test_no_page_has_a_script_or_a_style_of_its_own(chromium, serve):
    site = serve(STEPS.format(input="any"))
    with visit(chromium, site, **DESKTOP) as page:
        for path in ("/", "/withdraw", "/steps/about-you"):
            page.goto(site.address + path)
            inline = "[...document.querySelectorAll('script:not([src]), style, [style], [onclick]')].length"
            assert page.evaluate(inline) == 0
            if path == "/":
                consent_by_keyboard(page)
