"""Every picture pixel is a square of device pixels of its colour: on any screen, beside another, after a zoom."""

from __future__ import annotations

import base64
import hashlib

import numpy as np
import pytest

from core import manifest, pictures
from tests.conftest import build_stimulus_set
from tests.study_browser import (
    DESKTOP,
    PHONE,
    consent,
    fetch,
    get_state,
    go_on,
    play,
    press,
    read_canvas,
    visit,
    wait_for_picture,
    wait_until,
    wait_until_kept,
)

MARGIN, SURROUND = 2, 128
PAIRS = """
name = "pairs"
task = "2afc"
seed = 8
[practice]
trials = 2
[main]
trials = 4
block_trials = 4
[timing]
fixation_ms = 100
feedback_ms = 500
"""
MASKED = PAIRS.replace("pairs", "masked").replace(
    "fixation_ms = 100", "fixation_ms = 100\nexposure_ms = 50\nmask_ms = 30000"
)
YES_NO_MASKED = MASKED.replace("masked", "masked-one").replace("2afc", "yes-no")


def enlarged(small: list[np.ndarray], scale: int, gap: int, shape: tuple[int, int]) -> np.ndarray:
    """Returns what a canvas must show: the pictures side by side at a whole scale, amid the surround."""
    large = [each.repeat(scale, axis=0).repeat(scale, axis=1) for each in small]
    between = np.full((large[0].shape[0], gap, 3), SURROUND, np.uint8)
    row = large if len(large) == 1 else [large[0], between, large[1]]
    pixels = np.concatenate(row, axis=1)
    spare = [total - length for total, length in zip(shape, pixels.shape, strict=False)]
    assert all(2 * MARGIN <= each < 2 * MARGIN + 64 for each in spare)
    around = [(each // 2, each - each // 2) for each in spare]
    return np.pad(pixels, (*around, (0, 0)), constant_values=SURROUND)


def assert_exact(page, small: list[np.ndarray], ratio: float, scale: int, gap_css: int, photograph=None) -> None:
    """Compares pictures, blown up, with the canvas and with a photograph of the screen."""
    drawn, canvas = read_canvas(page)
    expected = enlarged(small, scale, round(gap_css * ratio), canvas.shape[:2])
    np.testing.assert_array_equal(canvas, expected)
    assert drawn["css"] == pytest.approx(expected.shape[1] / ratio, abs=1 / 64)
    left, top = drawn["left"] * ratio, drawn["top"] * ratio
    assert (left, top) == pytest.approx((round(left), round(top)), abs=0.02)
    screen = pictures.decode(photograph or page.screenshot(scale="device"), "screenshot")
    seen = screen[round(top) : round(top) + expected.shape[0], round(left) : round(left) + expected.shape[1]]
    np.testing.assert_array_equal(seen, expected)


def served(page, state: dict) -> list[np.ndarray]:
    """Returns the pixels of the first trial's PNG files, as the server sends them."""
    return [pictures.decode(fetch(page, url), url) for url in state["trials"][0]["pictures"]]


def begin(page, site) -> dict:
    consent(page, site)
    state = get_state(page)
    go_on(page)
    wait_for_picture(page)
    return state


@pytest.mark.parametrize(("ratio", "scale"), [(1, 10), (1.25, 13), (1.5, 15), (2, 21), (2.625, 27), (3, 31)])
def test_one_picture_is_exact_at_every_device_pixel_ratio(chromium, site, shown_set, ratio, scale):
    with visit(chromium, site, **DESKTOP, device_scale_factor=ratio) as page:
        state = begin(page, site)
        (shown,) = served(page, state)
        png = fetch(page, state["trials"][0]["pictures"][0])
        assert hashlib.sha256(png).hexdigest() in manifest.read_set(shown_set).by_hash()
        assert_exact(page, [shown], ratio, scale, 0)


@pytest.mark.parametrize(("ratio", "scale"), [(1, 10), (1.25, 13), (1.5, 15), (2, 21), (3, 31)])
def test_two_pictures_are_exact_at_every_device_pixel_ratio(chromium, serve, ratio, scale):
    site = serve(PAIRS)
    with visit(chromium, site, **DESKTOP, device_scale_factor=ratio) as page:
        state = begin(page, site)
        assert_exact(page, served(page, state), ratio, scale, 32)


@pytest.mark.parametrize(("ratio", "scale"), [(1, 5), (2, 10), (3, 16)])
def test_two_pictures_stand_side_by_side_on_a_phone(chromium, serve, screenshots, ratio, scale):
    site = serve(PAIRS)
    with visit(chromium, site, **{**PHONE, "device_scale_factor": ratio}) as page:
        state = begin(page, site)
        page.screenshot(path=screenshots / f"pair-phone-{ratio}.png")
        assert_exact(page, served(page, state), ratio, scale, 12)


def test_two_pictures_stand_one_above_the_other_only_where_they_must(chromium, serve, screenshots, tmp_path_factory):
    large = build_stimulus_set(tmp_path_factory.mktemp("large") / "noise", sources=8, size=224)
    site = serve(PAIRS.replace("pairs", "large"), large)
    with visit(chromium, site, **{**PHONE, "device_scale_factor": 1}) as page:
        state = begin(page, site)
        page.screenshot(path=screenshots / "pair-stacked-390.png")
        upper, lower = served(page, state)
        between = np.full((12, 224, 3), SURROUND, np.uint8)
        assert_exact(page, [np.concatenate([upper, between, lower])], 1, 1, 0)
        assert page.inner_text(".answers").split("\n") == ["The upper one", "The lower one"]
        page.set_viewport_size({"width": 700, "height": 844})
        page.wait_for_function("() => document.querySelector('.trial canvas').width > 448")
        assert_exact(page, [upper, lower], 1, 1, 32)
        assert page.inner_text(".answers").split("\n") == ["The left one", "The right one"]


def test_the_perturbed_picture_stands_on_the_side_of_the_plan(chromium, serve, shown_set):
    slow = PAIRS.replace("pairs", "slow").replace("feedback_ms = 500", "feedback_ms = 5000")
    site, files = serve(slow), manifest.read_set(shown_set).by_hash()
    with visit(chromium, site, **DESKTOP) as page:
        state = begin(page, site)
        hashes = [hashlib.sha256(fetch(page, url)).hexdigest() for url in state["trials"][0]["pictures"]]
        press(page)
        told = page.wait_for_selector(".feedback:not(:empty)", state="attached").text_content()
    perturbed = [files[sha256][0].run is not None for sha256 in hashes]
    assert sum(perturbed) in (0, 1)
    if any(perturbed):
        assert told.endswith("it was the left one." if perturbed[0] else "it was the right one.")


def test_a_change_of_zoom_in_a_trial_fits_the_picture_again_and_is_counted(chromium, site):
    with visit(chromium, site, **DESKTOP) as page:
        state = begin(page, site)
        small = served(page, state)
        assert_exact(page, small, 1, 10, 0)
        metrics = {"width": 853, "height": 533, "deviceScaleFactor": 1.5, "mobile": False}
        browser = page.context.new_cdp_session(page)
        browser.send("Emulation.setDeviceMetricsOverride", metrics)
        page.wait_for_function("() => document.querySelector('.trial canvas').width !== 324")
        scale = (page.evaluate("document.querySelector('.trial canvas').width") - 2 * MARGIN) // 32
        photograph = base64.b64decode(browser.send("Page.captureScreenshot")["data"])
        assert_exact(page, small, 1.5, scale, 0, photograph)
        play(page, press, trials=2)
        first, second = wait_until_kept(site, state["session_id"], 2)
    assert (first.device_pixel_ratio, first.scale, first.attempt) == (1.5, scale, 2)
    assert (second.device_pixel_ratio, second.scale, second.attempt) == (1.5, scale, 1)
    assert first.css_px == pytest.approx(32 * scale / 1.5)


def test_a_window_that_becomes_narrow_in_a_trial_never_cuts_the_picture_off(chromium, serve):
    site = serve(PAIRS)
    with visit(chromium, site, **DESKTOP) as page:
        state = begin(page, site)
        page.set_viewport_size({"width": 320, "height": 640})
        page.wait_for_function("() => document.querySelector('.trial canvas').width < 320")
        assert_exact(page, served(page, state), 1, 4, 12)


@pytest.mark.parametrize(("protocol", "count"), [(YES_NO_MASKED, 1), (MASKED, 2)])
def test_the_mask_is_noise_that_anybody_can_make_again_from_session_and_trial(chromium, serve, protocol, count):
    site = serve(protocol)
    with visit(chromium, site, **DESKTOP, device_scale_factor=1.5) as page:
        state = begin(page, site)
        masks = [noise(f"{state['session_id']}/0/{place}") for place in range(count)]
        expected = enlarged(masks, 15, 48, read_canvas(page)[1].shape[:2])
        wait_until(page, lambda: np.array_equal(read_canvas(page)[1], expected))  # the pictures stand for 50 ms
        assert_exact(page, masks, 1.5, 15, 32)
        press(page)
    assert all(120 < mask.mean() < 136 for mask in masks)


def noise(seed: str, size: int = 32) -> np.ndarray:
    """Returns a mask: three bytes a pixel from Marsaglia's xorshift (13, 17, 5), seeded by FNV-1a of a text."""
    state = 0x811C9DC5
    for letter in seed.encode():
        state = (state ^ letter) * 0x01000193 & 0xFFFFFFFF
    pixels = []
    for _ in range(size * size):
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        pixels.append([state >> 24, state >> 16 & 255, state >> 8 & 255])
    return np.array(pixels, np.uint8).reshape(size, size, 3)
