"""``python -m benchmarks.annotation_latency``: how smoothly one paints, and how much the drawing page weighs.

A real server hands out pictures of 2,000 × 2,000 and 4,000 × 4,000 pixels that have 60 strokes already; in Chromium,
drawn by the processor alone, a hand paints further strokes over them. The page's own frames
(``requestAnimationFrame``) are counted while it does, and the browser's trace says how long its main thread was busy
at a time.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright
from tqdm import tqdm

from benchmarks.claims import RESULTS, Claim, versions, write
from benchmarks.study_site import Server, Shape
from core import picture_sets, rng
from core.errors import DONE, MachineError, StudyError, exit_code
from study_app import create_app
from study_app.settings import Settings

COMMAND = "python -m benchmarks.annotation_latency"
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
VIEWPORT: ViewportSize = {"width": 1280, "height": 800}
SIDES = (2_000, 4_000)  # pixels: of the pictures
FRAME_AIM_MS, WEIGHT_AIM = 32.0, 150_000
SIZE, POINTS, POINT_MS = 80, 200, 8  # of the strokes that are there: diameter in picture pixels, points, ms between two
CATEGORIES = ("toplevel", "disabled-by-default-devtools.timeline")
TASK = 'name = "measured"\nannotators_per_picture = 1000\nminimum_seconds = 0\n'
COUNT_FRAMES = """() => {
  window.frames_at = [];
  const note = (at) => { if (window.frames_at) { window.frames_at.push(at); requestAnimationFrame(note); } };
  requestAnimationFrame(note);
}"""
TAKE_FRAMES = "() => { const all = window.frames_at; window.frames_at = null; return all; }"
POST = """async ([path, bodies]) => {
  const csrf = document.querySelector('meta[name=csrf]').content;
  const headers = {'Content-Type': 'application/json', 'X-CSRF-Token': csrf};
  for (const body of bodies) {
    const reply = await fetch(path, {method: 'POST', headers, body: JSON.stringify(body)});
    if (!reply.ok) throw new Error(await reply.text());
  }
}"""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is painted.

    Attributes:
        side: of the picture, in pixels; ``strokes``: that it has already; ``painted``: while we measure.
    """

    side: int = SIDES[0]
    strokes: int = 60
    painted: int = 10
    seed: int = 1


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Milliseconds between frames and of the main thread's tasks while painting; of opening; bytes of the page."""

    frames: np.ndarray[Any, np.dtype[np.float64]]
    tasks: np.ndarray[Any, np.dtype[np.float64]]
    opening_ms: float
    weight: int


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS / "annotation_latency.json")
    parser.add_argument("--painted", type=int, default=Plan.painted, help="strokes while measuring")
    given = parser.parse_args(argv)
    plans = [Plan(side=side, painted=given.painted) for side in SIDES]
    measured = [measure(plan) for plan in plans]
    claims = [claim for plan, each in zip(plans, measured, strict=True) for claim in _claims(plan, each)]
    write(given.out, [*claims, _weight_claim(plans[0], measured[0])])
    return DONE


def measure(plan: Plan) -> Measured:
    """Returns what Chromium measured on a server of its own."""
    with tempfile.TemporaryDirectory() as folder, _site(Path(folder), plan) as address, _chromium() as browser:
        context = browser.new_context(viewport=VIEWPORT)
        _consent(context.new_page(), address)
        page = context.new_page()
        weight = _begin(page, address, plan)
        opening_ms = _reopen(page)
        frames, tasks = _paint(browser, page, plan)
    return Measured(frames=frames, tasks=tasks, opening_ms=opening_ms, weight=weight)


@contextmanager
def _site(folder: Path, plan: Plan) -> Iterator[str]:
    pixels = rng.numpy_generator(plan.seed, "picture").integers(40, 220, (plan.side, plan.side, 3), dtype=np.uint8)
    picture_sets.write(folder / "measured", ("noise",), [("train/noise/0", "noise", pixels)])
    (folder / "task.toml").write_text(TASK, encoding="utf-8")
    url = f"sqlite:///{folder / 'annotation.sqlite'}"
    app = create_app(Settings(database_url=url, instance=folder))
    register = ["register-annotation", str(folder / "task.toml"), "--pictures", "measured"]
    for command in (["init-db"], ["register-pictures", str(folder / "measured")], register):
        done = app.test_cli_runner().invoke(args=command)
        if done.exit_code:
            raise StudyError(f"flask --app study_app {' '.join(command)}: {done.output}")
    app.extensions["percepsilon_database"].engine.dispose()
    with Server(url, folder / "server.log", Shape(workers=1)) as server:
        yield server.address


@contextmanager
def _chromium() -> Iterator[Browser]:
    names = ("chromium", "google-chrome")
    found = os.environ.get("PERCEPSILON_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise MachineError("expected a Chromium, found none; set PERCEPSILON_CHROMIUM to the path of one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        yield browser
        browser.close()


def _consent(page: Page, address: str) -> None:
    page.goto(f"{address}/annotate/")
    page.check("input[name=consent]")
    page.click("button.primary")
    page.wait_for_url("**/instructions")
    page.close()


def _begin(page: Page, address: str, plan: Plan) -> int:
    """Opens the picture and stores its strokes; returns what the drawing page weighs, pictures left out."""
    replies: list[Any] = []

    def note(reply: Any) -> None:  # a method of a list cannot be listened with
        replies.append(reply)

    page.on("response", note)
    page.goto(f"{address}/annotate/work")
    page.wait_for_selector("body[data-picture]")
    weight = sum(_weight(reply.body()) for reply in replies if reply.ok and "/pictures/" not in reply.url)
    identity = page.get_attribute("body", "data-picture")
    bodies = [
        {"assignment": identity, "index": index, "client_uuid": str(uuid.uuid4()), "operation": stroke, "active_ms": 0}
        for index, stroke in enumerate(_strokes(plan))
    ]
    page.evaluate(POST, ["/annotate/api/v1/strokes", bodies])
    return weight


def _weight(body: bytes) -> int:
    return min(len(body), len(gzip.compress(body)))


def _strokes(plan: Plan) -> Iterator[dict[str, Any]]:
    """Yields strokes that wander over the picture."""
    draws = rng.numpy_generator(plan.seed, "strokes")
    for tool in itertools.islice(itertools.cycle(("brush", "brush", "erase")), plan.strokes):
        steps = draws.normal(0, 25, (POINTS, 2)).cumsum(axis=0) + draws.uniform(0, plan.side, 2)
        places = np.round(8 * np.clip(steps, 0, plan.side)) / 8
        points = [[x, y, POINT_MS * place, 0.5] for place, (x, y) in enumerate(places.tolist())]
        yield {"tool": tool, "size": SIZE, "points": points, "pressure": False}


def _reopen(page: Page) -> float:
    """Returns how long it takes from the page's beginning until the picture is shown with all its strokes, in ms."""
    page.reload()
    page.wait_for_selector("body[data-picture]")
    shown: float = page.evaluate("() => new Promise((done) => requestAnimationFrame(() => done(performance.now())))")
    return shown


def _paint(browser: Browser, page: Page, plan: Plan) -> tuple[Any, Any]:
    """Paints strokes across the picture by mouse; returns ms between frames, and of each task of the main thread."""
    room = page.locator("#surface").bounding_box()
    assert room is not None
    frames = []
    for stroke in tqdm(range(-1, plan.painted), desc="painting", unit="stroke"):
        if stroke == 0:  # the one before warms up
            browser.start_tracing(page=page, categories=list(CATEGORIES))
        at = _path(room, stroke)
        page.mouse.move(*next(at))
        page.mouse.down()
        page.evaluate(COUNT_FRAMES)
        for place in at:
            page.mouse.move(*place)
            page.wait_for_timeout(POINT_MS)
        times = page.evaluate(TAKE_FRAMES)
        page.mouse.up()
        if stroke >= 0:
            frames.append(np.diff(times))
    tasks = _main_thread_tasks(json.loads(browser.stop_tracing())["traceEvents"])
    return np.concatenate(frames), np.asarray(tasks)


def _path(room: Any, stroke: int) -> Iterator[tuple[float, float]]:
    """Yields a wave from left to right across the middle of the picture."""
    side = min(room["width"], room["height"])
    left, top = room["x"] + (room["width"] - side) / 2, room["y"] + (room["height"] - side) / 2
    for step in range(POINTS // 2):
        share = step / (POINTS // 2)
        yield left + side * (0.05 + 0.9 * share), top + side * (0.5 + 0.4 * float(np.sin(9 * share + stroke)))


def _main_thread_tasks(events: Sequence[dict[str, Any]]) -> list[float]:
    """Returns the milliseconds of every task of the page's main thread in a trace."""
    threads = {
        (event["pid"], event["tid"])
        for event in events
        if event.get("name") == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    tasks = [e for e in events if (e.get("pid"), e.get("tid")) in threads and e.get("name") == "RunTask" and "dur" in e]
    if not tasks:
        raise MachineError("expected a trace with tasks of the page's main thread, got none; use a Chromium")
    return [event["dur"] / 1000 for event in tasks]


def _claims(plan: Plan, measured: Measured) -> list[Claim]:
    picture = f"on {plan.side:,} × {plan.side:,} pixels with {plan.strokes} strokes"
    frames, tasks = measured.frames, measured.tasks
    low, high = float(frames.min()), float(frames.max())
    common = _common(plan)
    return [
        Claim(
            claim=f"slowest frame while painting {picture}", value=round(high, 2), unit="ms", aim=FRAME_AIM_MS,
            met=high <= FRAME_AIM_MS, n=len(frames), **common,
        ),
        Claim(
            claim=f"99 % of frames while painting {picture} follow the one before within",
            value=round(float(np.percentile(frames, 99)), 2), unit="ms", aim=FRAME_AIM_MS,
            met=bool(np.percentile(frames, 99) <= FRAME_AIM_MS), spread=(round(low, 2), round(high, 2)), n=len(frames),
            **common,
        ),
        Claim(
            claim=f"longest task of the main thread while painting {picture}", value=round(float(tasks.max()), 2),
            unit="ms", aim=FRAME_AIM_MS, met=bool(tasks.max() <= FRAME_AIM_MS), n=len(tasks), **common,
        ),
        Claim(
            claim=f"from loading the page to the picture with its strokes, {picture}",
            value=round(measured.opening_ms), unit="ms", n=1, **common,
        ),
    ]  # fmt: skip


def _weight_claim(plan: Plan, measured: Measured) -> Claim:
    return Claim(
        claim="weight of the drawing page, compressed, pictures left out", value=measured.weight, unit="bytes",
        aim=WEIGHT_AIM, met=measured.weight <= WEIGHT_AIM, n=1, **_common(plan),
    )  # fmt: skip


def _common(plan: Plan) -> dict[str, Any]:
    return {"command": COMMAND, "seed": plan.seed, "versions": versions("flask", "playwright")}


if __name__ == "__main__":
    sys.exit(exit_code(main))
