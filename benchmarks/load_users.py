"""``python -m benchmarks.load_users``: robots answer at a steady rate, by locust; prints what they waited, as JSON.

Started by ``benchmarks.study_load`` as a process of its own, because locust replaces the standard library's sockets.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, task
from locust.env import Environment

from benchmarks.load_robots import ANSWER, LAW, PICTURE, LookingRobot, Play
from core import manifest
from core.errors import MachineError, exit_code
from study_app import observers
from study_app.robots import Memory, Task
from study_app.security import CSRF_HEADER, SESSION, csrf_token

SETTLE_S = 3.0


class Measured:
    """Times and errors of all requests since the load was steady."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {ANSWER: [], PICTURE: []}
        self.errors: Counter[str] = Counter()
        self.on = False

    def note(self, *, name: str, response_time: float, exception: BaseException | None, **_: Any) -> None:
        """Takes one request; the form is that of locust's event."""
        if exception is not None:
            self.errors[repr(exception)[:200]] += 1
        elif self.on:
            self.times[name].append(response_time)


def participant(plays: deque[Play], task_of_all: Task, known: bytes | None, pace: float) -> type[FastHttpUser]:
    """Returns the class of locust's users: each plays one robot, ``pace`` trials per second.

    With ``known``, the bytes of a picture, a robot does not load its pictures, as a browser that has loaded the block.
    """

    class Participant(FastHttpUser):
        host = task_of_all.url

        def on_start(self) -> None:
            self.play, self.begun = plays.popleft(), False
            self.robot = LookingRobot(task_of_all, self.play.number, Memory(None))
            token = self.play.cookie
            self.headers = {"Cookie": f"{SESSION}={token}", "Origin": self.host, CSRF_HEADER: csrf_token(token)}
            first = random.Random(self.play.number).uniform(0, 1 / pace)  # noqa: S311  (not all at once)
            self.due = time.monotonic() + first

        def wait_time(self) -> float:
            """Returns the seconds to the next answer: at a steady pace, whatever the last one took."""
            wait = self.due - time.monotonic()
            self.due += 1 / pace
            return max(0.0, wait)

        @task
        def trial(self) -> None:
            if not self.play.left:
                return
            shown = self.play.left[0]
            pictures = [known or self._picture(address) for address in shown["pictures"]]
            body = self.robot.answer(self.play.state, shown, pictures)
            with self.client.post(
                "/api/v1/trials", json=body, headers=self.headers, name=ANSWER, catch_response=True
            ) as reply:
                if reply.status_code == 409 and not self.begun:
                    reply.success()  # the load before this one was cut off after the server had stored it
                if reply.status_code in {200, 201, 409}:
                    self.play.left.popleft()  # and not before: what the end of a load cuts off comes again in the next
            self.begun = True

        def _picture(self, address: str) -> bytes:
            found: bytes = self.client.get(address, headers=self.headers, name=PICTURE).content
            return found

    return Participant


def run(plays: Sequence[Play], task_of_all: Task, *, rate: float, seconds: float, known: bytes | None) -> Measured:
    """Lets all robots answer, ``rate`` answers per second together; returns what was measured once it was steady."""
    measured, waiting = Measured(), deque(plays)
    users = participant(waiting, task_of_all, known, rate / len(plays))
    environment = Environment(user_classes=[users])
    environment.events.request.add_listener(measured.note)  # type: ignore[no-untyped-call]
    runner = environment.create_local_runner()
    runner.start(len(plays), spawn_rate=len(plays))
    gevent.sleep(SETTLE_S + len(plays) / rate)
    measured.on = True
    gevent.sleep(seconds)
    measured.on = False
    runner.quit()
    return measured


def main(argv: Sequence[str] | None = None) -> int:
    """Plays one load and prints its measurements; the file of robots is brought up to date."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load_users", description=main.__doc__)
    parser.add_argument("robots", type=Path)
    parser.add_argument("--url", required=True)
    parser.add_argument("--stimuli", type=Path, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--pictures", choices=("loaded", "known"), required=True)
    options = parser.parse_args(argv)
    rows = json.loads(options.robots.read_text(encoding="utf-8"))
    plays = [Play(**{**row, "left": deque(row["left"])}) for row in rows]
    stimuli = manifest.read_set(options.stimuli)
    law = observers.load(LAW)
    task_of_all = Task(url=options.url, law=law, shown=stimuli.by_hash(), wait_s=0.0)
    known = stimuli.png(stimuli.stimuli[-1]).read_bytes() if options.pictures == "known" else None
    measured = run(plays, task_of_all, rate=options.rate, seconds=options.seconds, known=known)
    options.robots.write_text(json.dumps([{**vars(play), "left": list(play.left)} for play in plays]), encoding="utf-8")
    if not all(play.left for play in plays):
        raise MachineError(
            "a robot had answered all of its trials before the load was over; give --robots more of them"
        )
    json.dump({"times": measured.times, "errors": measured.errors}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
