"""Robot annotators: what one does from the task's address to its end, through the interface that browsers use.

A robot sees what a person sees: the picture's bytes. Everything that it draws follows from the seed, its number and the
picture, so that a robot which is stopped goes on with the same strokes. It states at consent that it is a robot.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import requests

from core import files, pictures, rng
from core.annotations.raster import Mask
from core.errors import StudyError
from study_app.robots import Memory
from study_app.robots.blobs import MS_A_POINT, Operations, Sloppiness, contrast_blob, painted
from study_app.robots.robot_browser import Browser
from study_app.security import ANNOTATOR

UUIDS = uuid.UUID("1c5f0c2e-8b1b-5f0d-9a58-2f6f2c6b7d10")
API = "/annotate/api/v1"
LONGEST_WAIT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Task:
    """What all robots of a simulation share.

    Attributes:
        url: of the study, without a slash at the end.
        sloppiness: of all robots.
        seed: of everything that they draw.
        wait_s: how long a robot goes on trying to reach a server that does not answer.
        masks: what robots take for salient, by the SHA-256 of the picture's file; elsewhere a blob of high contrast.
    """

    url: str
    sloppiness: Sloppiness
    seed: int
    wait_s: float
    masks: dict[str, Mask] = field(default_factory=dict)


class Done(NamedTuple):
    """What a robot did now."""

    pictures: int
    strokes: int


class Decision(NamedTuple):
    """What a robot makes of a picture in one round."""

    outcome: str
    operations: Operations


class Annotator:
    """One robot annotator."""

    def __init__(self, task: Task, number: int, memory: Memory, client: requests.Session | None = None) -> None:
        self._task, self._number, self._memory = task, number, memory
        self._browser = Browser(task.url, task.wait_s, client, kept=ANNOTATOR)

    def enrol(self) -> None:
        """Gives consent, or goes on as the annotator that is remembered."""
        if "cookie" in (remembered := self._memory.recall(self._number)):
            self._browser.session = remembered["cookie"]
            return
        self._browser.get("/annotate/")
        self._browser.post_form("/annotate/consent", consent="yes", robot="yes")
        if self._browser.session is None:
            raise StudyError(f"{self._task.url}/annotate/: expected to begin after consent; is the task open?")
        self._memory.keep(self._number, cookie=self._browser.session)

    def take_part(self, on_picture: Callable[[], object] = lambda: None) -> Done:
        """Draws until nothing is left, or the task is paused; ``on_picture`` is called after each picture."""
        pictures_done = strokes = 0
        with self._browser:
            while (state := self._browser.get(f"{API}/state").json())["assignment"] is not None:
                strokes += self._work_on(state)
                pictures_done += 1
                on_picture()
        return Done(pictures_done, strokes)

    def _work_on(self, state: dict[str, Any]) -> int:
        """Draws what is left to draw on the open picture, and hands it in; returns how many strokes were sent."""
        assignment = state["assignment"]
        data = self._browser.get(assignment["picture"]["url"]).content
        decisions = [self._decide(data, number) for number in range(1, assignment["round"] + 1)]
        operations = joined(decisions)
        held = len(assignment["operations"])
        for index in range(held, len(operations)):
            self._browser.post_json(f"{API}/strokes", self._stroke(state, index, operations))
        self._hand_in(state, decisions[-1].outcome, operations)
        return len(operations) - held

    def _decide(self, data: bytes, number: int) -> Decision:
        sha256 = files.sha256_bytes(data)
        draws = rng.numpy_generator(self._task.seed, "annotator", self._number, sha256, number)
        sloppiness, chance = self._task.sloppiness, draws.random()
        if chance < sloppiness.skip:
            return Decision("skipped", [])
        if chance < sloppiness.skip + sloppiness.none:
            return Decision("none", [])
        truth = self._task.masks.get(sha256)
        if truth is None:
            truth = contrast_blob(pictures.decode(data, f"{self._task.url}: a picture"))
        operations = painted(truth, sloppiness, draws)
        shown = any(operation["tool"] not in ("undo", "erase") for operation in operations)
        return Decision("regions" if shown else "none", operations)

    def _stroke(self, state: dict[str, Any], index: int, operations: Operations) -> dict[str, Any]:
        return {
            "assignment": state["assignment"]["id"],
            "index": index,
            "client_uuid": self._uuid(state, f"stroke/{index}"),
            "operation": operations[index],
            "active_ms": active_ms(operations[: index + 1]),
        }

    def _hand_in(self, state: dict[str, Any], outcome: str, operations: Operations) -> None:
        assignment = state["assignment"]
        body = {
            "assignment": assignment["id"],
            "client_uuid": self._uuid(state, f"round/{assignment['round']}"),
            "outcome": outcome,
            "skip_reason": state["task"]["skip_reasons"][0] if outcome == "skipped" else None,
            "strokes": len(operations),
            "active_ms": active_ms(operations),
        }
        while (reply := self._browser.post_json(f"{API}/submissions", body, may_fail=True)).status_code == 422:
            error = reply.json()["error"]
            if error["code"] == "nothing painted":
                body |= {"outcome": "none", "client_uuid": self._uuid(state, f"round/{assignment['round']}/none")}
            elif error["code"] == "too soon":
                time.sleep(min(error["seconds_left"] + 0.05, LONGEST_WAIT_S))
            else:
                break
        if reply.status_code >= 400:
            raise StudyError(f"POST {API}/submissions: expected success, the server answered {reply.status_code}")

    def _uuid(self, state: dict[str, Any], what: str) -> str:
        return str(uuid.uuid5(UUIDS, f"{state['annotator']}/{state['assignment']['id']}/{what}"))


def joined(decisions: list[Decision]) -> Operations:
    """Returns the record over all rounds: each round after the first begins by clearing what was there."""
    operations: Operations = []
    for number, decision in enumerate(decisions):
        if number and operations:
            operations.append({"tool": "clear", "t_ms": 0})
        operations += decision.operations
    return operations


def active_ms(operations: Operations) -> int:
    """Returns the time that a robot says it took: so many milliseconds for each point."""
    return sum(MS_A_POINT * len(operation.get("points", (0,))) for operation in operations)
