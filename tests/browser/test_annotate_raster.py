"""The page's raster rule is the server's: the same operations, whatever they are, paint the same pixels in both."""

from __future__ import annotations

import base64

import numpy as np

from core import rng
from core.annotations.operations import parse_all
from core.annotations.raster import rasterise
from tests.annotation_browser import begin
from tests.study_browser import DESKTOP, visit

WIDTH, HEIGHT = 97, 61
APPLY = """async ([operations, width, height]) => {
  const { Mask } = await import('/static/annotate-mask.js');
  const mask = new Mask(width, height);
  for (const operation of operations) mask.apply(operation);
  const painted = mask.pixels.subarray(0, width * height).reduce((sum, each) => sum + each, 0);
  return [btoa(String.fromCharCode(...mask.pixels.subarray(0, width * height))), painted, mask.painted];
}"""


def drawn_at_random(draws: np.random.Generator, count: int) -> list[dict]:
    return [random_operation(draws) for _ in range(count)]


def random_operation(draws: np.random.Generator) -> dict:
    tool = draws.choice(
        ["brush", "erase", "brush", "polygon", "box", "undo", "redo", "clear"], p=[0.3, 0.2] + [0.1] * 4 + [0.08, 0.02]
    )
    if tool in ("undo", "redo", "clear"):
        return {"tool": str(tool), "t_ms": 1}
    count = {"polygon": draws.integers(3, 9), "box": 2}.get(str(tool), draws.integers(1, 12))
    places = draws.integers(-16, [8 * WIDTH + 16, 8 * HEIGHT + 16], (count, 2)) / 8
    if tool in ("polygon", "box"):
        points = [[x, y, place] for place, (x, y) in enumerate(places.tolist())]
        return {"tool": str(tool), "mode": str(draws.choice(["add", "remove"])), "points": points}
    pressures = (draws.integers(0, 257, count) / 256).tolist()
    points = [[x, y, place, pressures[place]] for place, (x, y) in enumerate(places.tolist())]
    return {
        "tool": str(tool),
        "size": float(draws.integers(16, 160) / 8),
        "points": points,
        "pressure": bool(draws.integers(2)),
    }


def test_a_thousand_operations_paint_the_same_pixels_in_the_browser_and_on_the_server(chromium, small_site):
    draws = rng.numpy_generator(1, "operations")
    records = [drawn_at_random(draws, 40) for _ in range(25)]
    with visit(chromium, small_site, **DESKTOP) as page:
        begin(page, small_site)
        for record in records:
            data, painted, counted = page.evaluate(APPLY, [record, WIDTH, HEIGHT])
            found = np.frombuffer(base64.b64decode(data), np.uint8).reshape(HEIGHT, WIDTH)
            expected = rasterise(parse_all(record, WIDTH, HEIGHT), WIDTH, HEIGHT)
            np.testing.assert_array_equal(found, expected.astype(np.uint8))
            assert painted == counted == expected.sum()
