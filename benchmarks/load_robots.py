"""Robots of a load test: they decide as all robots do, and locust carries their pictures and answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from study_app.robots import Robot
from study_app.settings import ROOT

LAW = ROOT / "study_app" / "observers" / "demo.toml"
ANSWER, PICTURE = "answer", "picture"


@dataclass(kw_only=True)
class Play:
    """What one robot has before it: its cookie, the study's state, and the trials that it has not answered."""

    number: int
    cookie: str
    state: dict[str, Any]
    left: deque[dict[str, Any]] = field(default_factory=deque)


class LookingRobot(Robot):
    """A robot whose pictures and answers somebody else carries."""

    def begin(self) -> dict[str, Any]:
        """Consents and loads the page of the task; returns the study's state, and with it the trials."""
        self.enrol()
        self._pass_steps()
        self._visit(None)
        return self._state()

    @property
    def cookie(self) -> str:
        """The token of its session."""
        return self._browser.session or ""

    def answer(self, state: dict[str, Any], trial: dict[str, Any], pictures: Sequence[bytes]) -> dict[str, Any]:
        """Returns what it posts when it has seen the pictures of a trial."""
        return self._answer(state, trial, pictures)
