"""Robot participants: what one does from the study's address to its end, and what it remembers.

A robot sees what a person sees: the pictures' bytes. It looks their ε up by hash in a manifest that only the robots
have, and answers by the law of ``study_app.observers``. It states at consent that it is a robot.
"""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import requests

from core import files
from core.errors import StimulusError, StudyError
from core.manifest import Stimulus
from study_app import observers
from study_app.detection import Platform
from study_app.observers import Observers, Seen
from study_app.participants import arrivals
from study_app.robots.robot_browser import Browser

UUIDS = uuid.UUID("6f1d9c52-3a0e-5c0b-9b5e-64d0b3d1f2a7")
REFRESH_HZ = 60.0
PLATE = re.compile(r'name="(plate-\d+)"')


@dataclass(frozen=True, kw_only=True)
class Task:
    """What all robots of a simulation share.

    Attributes:
        url: of the study, without a slash at the end.
        law: that they obey.
        shown: manifest rows by the SHA-256 of their picture.
        wait_s: how long a robot goes on trying to reach a server that does not answer.
        platform: from which they come; with ids of their own making, or with ``links``.
        links: tokens of one-time links, one a robot.
    """

    url: str
    law: Observers
    shown: dict[str, list[Stimulus]]
    wait_s: float
    platform: Platform = "open"
    links: tuple[str, ...] = ()


class Memory:
    """What the robots remember between two runs of the program: each one's cookie, and how it ended."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        known = path is not None and path.is_file()
        self._robots: dict[str, Any] = (
            files.read_json(path, StudyError, "delete it to start over") if path and known else {}
        )

    def recall(self, robot: int) -> dict[str, Any]:
        """Returns what is remembered of a robot; empty if nothing."""
        return dict(self._robots.get(str(robot), {}))

    def keep(self, robot: int, **values: Any) -> None:
        """Remembers ``values`` of a robot, on disk when there is a path."""
        with self._lock:
            self._robots[str(robot)] = {**self._robots.get(str(robot), {}), **values}
            if self._path is not None:
                files.write_json(self._path, self._robots)


class Robot:
    """One robot participant; its random numbers depend on the law's seed, its number and the trial's name alone."""

    def __init__(self, task: Task, number: int, memory: Memory, client: requests.Session | None = None) -> None:
        self._task, self._number, self._memory = task, number, memory
        self._browser = Browser(task.url, task.wait_s, client)
        self._reloaded: set[int] = set()

    @property
    def ending(self) -> str | None:
        """How it ended: ``"finished"``, the reason for which the server closed the session, or ``None`` so far."""
        remembered = self._memory.recall(self._number)
        return "finished" if "code" in remembered else remembered.get("ended")

    def enrol(self) -> None:
        """Gives consent, or takes up the session that is remembered."""
        if "cookie" in (remembered := self._memory.recall(self._number)):
            self._browser.session = remembered["cookie"]
        else:
            self._consent()

    def take_part(self) -> int:
        """Goes through the study, or goes on with it; returns how many answers were given now."""
        if self.ending is not None:
            return 0
        with self._browser:
            return self._run_task() if self._pass_steps() else 0

    def _consent(self) -> None:
        self._browser.get(self._address())
        self._browser.post_form("/consent", consent="yes", robot="yes")
        if self._browser.session is None:
            raise StudyError(f"{self._task.url}: expected a session after consent, got none; is the study open?")
        self._memory.keep(self._number, cookie=self._browser.session)

    def _address(self) -> str:
        """Returns the address that its platform would have sent it to."""
        if self._task.platform == "open":
            return "/"
        if self._task.platform == "link":
            return "/?" + urlencode({arrivals.LINK: self._task.links[self._number]})
        values = (f"robot-{self._task.law.seed}-{self._number}", "robots", f"visit-{self._number}")
        names = arrivals.NAMES[self._task.platform]
        return "/?" + urlencode({name: value for name, value in zip(names, values, strict=True) if name})

    def _pass_steps(self) -> bool:
        """Goes through the steps before the task; returns whether it may take part, or has its code still to fetch."""
        page, ending = self._browser.get("/study"), "closed"
        while (path := urlsplit(page.url).path).startswith("/steps/"):
            page, ending = (
                self._browser.post_form(path, **self._form(path.removeprefix("/steps/"), page.text)),
                "screened-out",
            )
        if path == "/ended":
            self._memory.keep(self._number, ended=ending)
        elif path not in ("/study", "/finish"):
            raise StudyError(
                f"{self._task.url}{path}: expected the task or a step before it; is the session known there?"
            )
        return path != "/ended"

    def _form(self, step: str, page: str) -> dict[str, str]:
        screen = self._task.law.screen
        match step:
            case "about-you":
                return {"normal_vision": "yes"}
            case "device":
                sizes = {name: str(getattr(screen, name)) for name in ("width", "height", "device_pixel_ratio")}
                return {**sizes, "input": screen.input}
            case "colour-vision":
                answers = dict(enumerate(self._task.law.colour_vision_answers))
                return {name: answers.get(place, "") for place, name in enumerate(PLATE.findall(page))}
            case "calibration":
                return {"card_css_px": str(screen.card_css_px)}
            case _:
                raise StudyError(
                    f"/steps/{step}: a step that robots do not know; expected a version of the study that is theirs"
                )

    def _run_task(self) -> int:
        answers, seen, more = 0, None, True
        while more and self._visit(seen):
            given, seen = self._answer_until_reload(self._state())
            answers, more = answers + given, seen is not None
        if self.ending is None:
            code = self._browser.post_json("/api/v1/finish", {}).json()["completion_code"]
            self._memory.keep(self._number, code=code)
        return answers

    def _visit(self, seen: int | None) -> bool:
        """Tells the server of a page load; returns whether the session goes on."""
        visits = self._memory.recall(self._number).get("visits", 0)
        token = uuid.uuid5(UUIDS, f"{self._browser.session}/visit/{visits}")
        answer = self._browser.post_json(
            "/api/v1/visits", {"client_uuid": str(token), "seen_index": seen}, may_fail=True
        )
        if answer.status_code == 409 and answer.json()["error"]["code"] == "ended":
            self._memory.keep(self._number, ended="timed-out")
            return False
        if answer.status_code >= 400:
            raise StudyError(f"POST /api/v1/visits: expected success, the server answered {answer.status_code}")
        self._memory.keep(self._number, visits=visits + 1)
        return True

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = self._browser.get("/api/v1/state").json()
        return state

    def _answer_until_reload(self, state: dict[str, Any]) -> tuple[int, int | None]:
        """Answers the trials that are left; returns how many, and the one at which the page is loaded again."""
        for given, trial in enumerate(ahead := trials_left(state)):
            pictures = [self._browser.get(address).content for address in trial["pictures"]]
            if self._reloads(trial):
                return given, trial["index"]
            self._browser.post_json("/api/v1/trials", self._answer(state, trial, pictures))
        return len(ahead), None

    def _reloads(self, trial: dict[str, Any]) -> bool:
        index = trial["index"]
        if trial["phase"] != "main" or index in self._reloaded:
            return False
        self._reloaded.add(index)
        return observers.reloads(self._task.law, self._number, index)

    def _answer(self, state: dict[str, Any], trial: dict[str, Any], pictures: Sequence[bytes]) -> dict[str, Any]:
        stimuli = [self._recognise(picture) for picture in pictures]
        decision = observers.decide(
            self._task.law,
            self._number,
            trial["index"],
            [Seen(stimulus.run, stimulus.eps_asked) for stimulus in stimuli],
            task=state["task"],
            instructed=trial["instructed"],
            levels=state["confidence"],
        )
        exposure, mask = (_frames(state[name]) for name in ("exposure_ms", "mask_ms"))
        return {
            "trial_index": trial["index"],
            "client_uuid": str(uuid.uuid5(UUIDS, f"{state['session_id']}/{trial['index']}")),
            "response": decision.response,
            "confidence": decision.confidence,
            "confidence_rt_ms": decision.confidence_rt_ms,
            "rt_ms": decision.rt_ms,
            "onset_ms": 0.0,
            "frames_planned": exposure,
            "frames_shown": exposure or max(1, round(decision.rt_ms * REFRESH_HZ / 1000)),
            "mask_frames": mask,
            "long_frames": 0,
            "refresh_hz": REFRESH_HZ,
            "device_pixel_ratio": self._task.law.screen.device_pixel_ratio,
            "css_px": float(stimuli[0].width),
            "scale": 1,
            "input_type": "robot",
            "blur_count": 0,
            "hidden_count": 0,
            "attempt": 1,
        }

    def _recognise(self, picture: bytes) -> Stimulus:
        sha256 = files.sha256_bytes(picture)
        rows = self._task.shown.get(sha256)
        if not rows:
            raise StimulusError(
                f"{self._task.url} served a picture (SHA-256 {sha256[:12]}…) that the manifest does not have; "
                "give the robots the stimulus set that the study uses"
            )
        return rows[0]


def trials_left(state: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the trials of a session that have no answer yet, in the order of showing."""
    names = [trial["index"] for trial in state["trials"]]
    first = len(names) if state["next_index"] is None else names.index(state["next_index"])
    left: list[dict[str, Any]] = state["trials"][first:]
    return left


def _frames(milliseconds: int) -> int | None:
    return max(1, round(milliseconds * REFRESH_HZ / 1000)) if milliseconds else None
