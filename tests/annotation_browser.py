"""An annotator in a real browser: what the tests of the drawing page do in it, and what the server holds then."""

from __future__ import annotations

import base64
import gzip
import itertools
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sqlalchemy import select, update

from benchmarks.study_site import free_port
from core import picture_sets, rng
from core.annotations import sets
from core.annotations.operations import parse_all
from core.annotations.raster import rasterise
from study_app.annotation.tables import Annotator, Assignment, Stroke, Submission
from tests import annotation_site
from tests.study_site import Server, close, make_app

PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}
DRAWN = "body[data-picture]"
READ_OVERLAY = """() => {
  const canvas = document.getElementById('overlay');
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const alpha = new Uint8Array(canvas.width * canvas.height).map((_, at) => data[4 * at + 3]);
  let text = '';
  for (let at = 0; at < alpha.length; at += 32768) text += String.fromCharCode(...alpha.subarray(at, at + 32768));
  return {width: canvas.width, height: canvas.height, alpha: btoa(text)};
}"""
FETCH_STATE = "fetch('/annotate/api/v1/state').then((reply) => reply.json())"


@dataclass(frozen=True, kw_only=True)
class Site:
    """A server with one annotation task, whose pictures are all of one size."""

    server: Server
    url: str
    size: tuple[int, int]

    @property
    def address(self) -> str:
        return self.server.address


def start(folder: Path, size: tuple[int, int], task: str, *, known: int = 0) -> Site:
    """Starts a server whose task shows pictures of noise; of ``known`` of them the middle is what is expected."""
    width, height = size
    draw = rng.numpy_generator(1, "annotation pictures")
    names = [f"train/noise/{place:03d}" for place in range(24)]
    pixels = (draw.integers(60, 200, (height, width, 3), dtype=np.uint8) for _ in names)
    picture_sets.write(folder / "noise", ("noise",), zip(names, itertools.repeat("noise"), pixels, strict=False))
    (folder / "task.toml").write_text(task)
    command = ["register-annotation", str(folder / "task.toml"), "--pictures", "noise"]
    if known:
        write_masks(folder / "gold", names[:known], size)
        command += ["--gold", str(folder / "gold")]
    url = f"sqlite:///{folder / 'annotation.sqlite'}"
    run(url, ["init-db"], ["register-pictures", str(folder / "noise")], command)
    return Site(server=Server(url, free_port(), folder / "server.log", direct=True).start(), url=url, size=size)


def write_masks(folder: Path, names: list[str], size: tuple[int, int]) -> None:
    mask = np.zeros(size[::-1], dtype=np.bool_)
    mask[size[1] // 4 : -(size[1] // 4), size[0] // 4 : -(size[0] // 4)] = True
    for name in names:
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sets.encode_mask(mask))


def run(url: str, *commands: list[str]) -> None:
    app = make_app(url)
    for command in commands:
        annotation_site.run(app, *command)
    close(app)


def begin(page, site) -> dict:
    """Consents, opens the drawing page and returns the state as the server tells it."""
    page.goto(f"{site.address}/annotate/")
    page.check("input[name=consent]")
    page.click("button.primary")
    page.wait_for_url("**/annotate/instructions")
    page.goto(f"{site.address}/annotate/work")
    page.wait_for_selector(DRAWN)
    return get_state(page)


def get_state(page) -> dict:
    return page.evaluate(FETCH_STATE)


def weight(reply) -> int:
    """Returns the bytes of a reply's body as they would be if everything were compressed."""
    body = reply.body()
    return min(len(body), len(gzip.compress(body)))


def wait_until_saved(page) -> None:
    page.wait_for_selector("#saving[data-state=saved]")
    page.wait_for_function("() => document.getElementById('saving').textContent.length > 0")


def wait_for_another(page, before: str) -> None:
    page.wait_for_function("(id) => document.body.dataset.picture !== id", arg=before)


def place(page, site, ratio: float) -> tuple[float, float, float]:
    """Returns where the picture's corner is in the window, and how large a picture pixel: all in CSS pixels."""
    box = page.locator("#surface").bounding_box()
    width, height = (round(box[name] * ratio) for name in ("width", "height"))
    scale = min(width / site.size[0], height / site.size[1])
    scale = int(scale) if scale >= 1 else scale
    left, top = (round((room - length * scale) / 2) for room, length in zip((width, height), site.size, strict=True))
    return box["x"] + left / ratio, box["y"] + top / ratio, scale / ratio


class Hand:
    """A hand with a mouse, in picture coordinates; the picture must be shown whole."""

    def __init__(self, page, site, ratio: float = 1) -> None:
        self.page, self.site, self.ratio = page, site, ratio

    def at(self, x: float, y: float) -> tuple[float, float]:
        left, top, scale = place(self.page, self.site, self.ratio)
        return left + x * scale, top + y * scale

    def stroke(self, *points: tuple[float, float], steps: int = 4) -> None:
        self.press(*points, steps=steps)
        self.page.mouse.up()

    def press(self, *points: tuple[float, float], steps: int = 4) -> None:
        self.page.mouse.move(*self.at(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.at(*point), steps=steps)

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.at(x, y))

    def use(self, command: str) -> None:
        self.page.click(f"[data-command={command}] >> visible=true")


def seen(page, site) -> np.ndarray:
    """Returns the mask as the page shows it: what is tinted at the middle of each picture pixel."""
    alpha = alphas(page)
    room = alpha.shape[::-1]
    scale = min(length // of for length, of in zip(room, site.size, strict=True))
    left, top = (round((length - of * scale) / 2) for length, of in zip(room, site.size, strict=True))
    rows, columns = (np.arange(length) * scale + scale // 2 for length in site.size[::-1])
    return alpha[np.ix_(top + rows, left + columns)] > 0


def alphas(page) -> np.ndarray:
    """Returns how opaque the paint is at each device pixel, 0 to 255, once the page has painted what it has to."""
    page.evaluate("() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))")
    drawn = page.evaluate(READ_OVERLAY)
    return np.frombuffer(base64.b64decode(drawn["alpha"]), np.uint8).reshape(drawn["height"], drawn["width"])


def kept(site, assignment: str) -> list[dict]:
    """Returns the operations that the server holds of an assignment, in their order."""
    query = select(Stroke.operation).join(Assignment, Assignment.id == Stroke.assignment_id)
    return _all(site, query.where(Assignment.public_id == assignment).order_by(Stroke.stroke_index))


def handed_in(site, assignment: str) -> list[Submission]:
    query = select(Submission).join(Assignment, Assignment.id == Submission.assignment_id)
    return _all(site, query.where(Assignment.public_id == assignment).order_by(Submission.id))


def wait_until_kept(site, assignment: str, count: int, seconds: float = 60) -> list[dict]:
    deadline = time.monotonic() + seconds
    while len(found := kept(site, assignment)) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(found) == count
    return found


def mask_of(site, operations: list[dict]) -> np.ndarray:
    """Returns the mask that the one raster routine makes of operations."""
    return rasterise(parse_all(operations, *site.size), *site.size)


def finish(site, annotator: str) -> None:
    """Gives an annotator the completion code, as if there were no picture left."""
    app = make_app(site.url)
    with app.extensions["percepsilon_database"].writing() as writer:
        chosen = update(Annotator).where(Annotator.public_id == annotator)
        done = chosen.values(finished_at=datetime.now(UTC), completion_code=annotator[-12:])
        assert writer.execute(done).rowcount == 1
    close(app)


def give_back(site, assignment: str, note: str) -> None:
    """Returns an assignment to its annotator, as a reviewer would."""
    app = make_app(site.url)
    with app.extensions["percepsilon_database"].writing() as writer:
        chosen = update(Assignment).where(Assignment.public_id == assignment)
        assert writer.execute(chosen.values(review="returned", note=note)).rowcount == 1
    close(app)


def exported(site, assignment: str, directory: Path) -> np.ndarray:
    """Exports everything by the researcher's command and returns the mask of one assignment in it."""
    run(site.url, ["export-annotations", str(directory)])
    (found,) = (row for row in sets.rows(directory) if row.annotation_id == assignment)
    return sets.read_mask(directory, found, site.size)


def _all(site, query) -> list:
    app = make_app(site.url)
    with app.extensions["percepsilon_database"].reading() as reader:
        found = list(reader.scalars(query))
        for each in found:
            if isinstance(each, Submission):
                reader.expunge(each)
    close(app)
    return found
