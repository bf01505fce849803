"""An annotation task as the tests of several levels need it: pictures, known masks, an annotator in a test client."""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path

import numpy as np

from core import picture_sets, rng
from core.annotations import sets
from study_app.security import ANNOTATOR, CSRF_HEADER, VISITOR, csrf_token
from tests.study_site import ORIGIN, close, make_app

WIDTH, HEIGHT = 24, 16  # not square: x and y must not be taken for one another
SQUARE = (slice(4, 12), slice(6, 18))  # rows, columns of the known regions
TASK = """
name = "small"
seed = 3
annotators_per_picture = {k}
pictures_per_annotator = {each}
minimum_seconds = {seconds}
reservation_minutes = 30
{more}
"""


def make_pictures(directory: Path, *, count: int = 6, seed: int = 1) -> Path:
    """Writes a picture set of noise, and known regions of its first two pictures into ``gold/`` beside it."""
    names = [f"train/{'cat' if place % 2 else 'dog'}/{place:04d}" for place in range(count)]

    def named():
        for name in names:
            draws = rng.numpy_generator(seed, "picture", name)
            yield name, name.split("/")[1], draws.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)

    picture_sets.write(directory, ("cat", "dog"), named())
    known = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    known[SQUARE] = True
    for name in names[:2]:
        path = gold_of(directory) / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sets.encode_mask(known))
    return directory


def gold_of(pictures: Path) -> Path:
    return pictures.with_name(f"{pictures.name}-gold")


def task_text(*, k: int = 2, each: int = 20, seconds: float = 0, more: str = "") -> str:
    return TASK.format(k=k, each=each, seconds=seconds, more=more)


def run(app, *command: str) -> str:
    done = app.test_cli_runner().invoke(args=list(command))
    assert done.exit_code == 0, done.output
    return done.output


def set_up(url: str, pictures: Path, text: str | None = None, *, gold: bool = False) -> None:
    """Makes a database and registers pictures, and a task if there is one, by the commands that a researcher uses."""
    app = make_app(url)
    run(app, "init-db")
    run(app, "register-pictures", str(pictures))
    if text is not None:
        register(app, pictures, text, gold=gold)
    close(app)


def register(app, pictures: Path, text: str, *, gold: bool = False) -> None:
    known = ["--gold", str(gold_of(pictures))] if gold else []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "task.toml"
        file.write_text(text)
        run(app, "register-annotation", str(file), "--pictures", pictures.name, *known)


def box(left: float = 6, top: float = 4, right: float = 18, bottom: float = 12, mode: str = "add") -> dict:
    return {"tool": "box", "mode": mode, "points": [[left, top, 0], [right, bottom, 90]]}


def brush(*points: tuple[float, float], size: float = 4) -> dict:
    return {"tool": "brush", "size": size, "points": [[x, y, 10 * place, 0.5] for place, (x, y) in enumerate(points)]}


class Painter:
    """An annotator in a Flask test client."""

    def __init__(self, app) -> None:
        self.client = app.test_client()

    @property
    def headers(self) -> dict[str, str]:
        if not (cookie := self.client.get_cookie(ANNOTATOR) or self.client.get_cookie(VISITOR)):
            self.client.get("/annotate/")
            cookie = self.client.get_cookie(VISITOR)
        return {**ORIGIN, CSRF_HEADER: csrf_token(cookie.value)}

    def consent(self, **form):
        return self.client.post("/annotate/consent", data={"consent": "yes", **form}, headers=self.headers)

    def state(self) -> dict:
        reply = self.client.get("/annotate/api/v1/state")
        assert reply.status_code == 200, reply.text
        return reply.get_json()

    def get(self, path: str):
        return self.client.get(path if path.startswith("/annotate") else f"/annotate/api/v1/{path}")

    def send(self, path: str, **body):
        return self.client.post(f"/annotate/api/v1/{path}", json=body, headers=self.headers)

    def draw(self, assignment: str, index: int, operation: dict, **changes):
        body = {
            "assignment": assignment, "index": index, "client_uuid": str(uuid.uuid4()), "operation": operation,
            "active_ms": 100 * (index + 1),
        }  # fmt: skip
        return self.send("strokes", **{**body, **changes})

    def hand_in(self, assignment: str, strokes: int, outcome: str = "regions", **changes):
        body = {
            "assignment": assignment, "client_uuid": str(uuid.uuid4()), "outcome": outcome, "skip_reason": None,
            "strokes": strokes, "active_ms": 1000,
        }  # fmt: skip
        return self.send("submissions", **{**body, **changes})

    def paint(self, *operations: dict) -> dict:
        """Draws on the open picture, hands it in, and returns the assignment as it was handed out."""
        assignment = self.state()["assignment"]
        for index, operation in enumerate(operations or (box(),)):
            assert self.draw(assignment["id"], index, operation).status_code == 201
        reply = self.hand_in(assignment["id"], max(1, len(operations)))
        assert reply.status_code == 201, reply.text
        return assignment
