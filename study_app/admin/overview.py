"""The dashboard: everything that a study says of itself while it runs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Lock
from typing import get_args

from flask import Response, current_app, request
from sqlalchemy import select
from sqlalchemy.orm import Session as DatabaseSession

from study_app import detection, registration
from study_app.admin import figures
from study_app.admin.access import admin, needs, page
from study_app.detection import DetectionProtocol
from study_app.models import Protocol, StimulusRow
from study_app.participants import steps
from study_app.researchers import dashboard, tallies
from study_app.researchers.dashboard import Interval, Quota, Rates, Stage
from study_app.researchers.tallies import Chosen, Who
from study_app.scheduling import places
from study_app.state import database

MINUTES = 60
RT_BINS = 30
SILENT_AFTER = timedelta(minutes=2)
KEPT_S = 2.0  # how long an overview is shown again before it is counted anew, at least
KEPT_TIMES = 10  # and at least so many times as long as it took: of a large study it takes a tenth of one core, at most
_KEPT = "percepsilon_overviews"


@dataclass(frozen=True, kw_only=True)
class Overview:
    """The numbers of the dashboard at one moment."""

    at: datetime
    settings: DetectionProtocol
    statuses: Counter[str]
    stages: tuple[Stage, ...]
    places_held: int
    quotas: list[Quota]
    minutes: list[int]
    silent: int
    catch: dict[str, tuple[int, int, Interval | None]]
    rates: Rates
    response_times: list[int]
    special: dict[str, int]


def overview_of(reader: DatabaseSession, protocol: Protocol, who: Who, now: datetime) -> Overview:
    """Returns the overview of a protocol, of everybody or of people or robots alone."""
    settings, chosen = detection.parse(protocol.source, protocol.name), Chosen(protocol.id, who)
    silent_since = now - timedelta(hours=settings.abandoned_after_hours)
    sessions = tallies.sessions(reader, chosen, silent_since)
    answered = tallies.main_answers(reader, chosen)
    caught = tallies.catch_answers(reader, chosen)
    cells = _cells(reader, protocol, settings)
    return Overview(
        at=now,
        settings=settings,
        statuses=dashboard.statuses(sessions),
        stages=dashboard.stages(
            sessions, steps.needed(settings), _blocks(settings), practice=settings.practice.trials > 0
        ),
        places_held=places.held(reader, protocol),
        quotas=tallies.quotas(
            cells, answered, tallies.pending(reader, chosen, silent_since), _aim(settings, len(cells))
        ),
        minutes=tallies.answers_by_minute(reader, chosen, now, MINUTES),
        silent=tallies.silent_in_mid_block(reader, chosen, now, SILENT_AFTER, silent_since),
        catch={kind: (*counts, dashboard.wilson(*counts)) for kind, counts in sorted(caught.items())},
        rates=dashboard.rates(settings.task, answered),
        response_times=dashboard.capped(tallies.response_times(reader, chosen), RT_BINS),
        special=tallies.special(reader, protocol.id),
    )


def _blocks(settings: DetectionProtocol) -> int:
    return -(-settings.main.trials // settings.main.block_trials)


def _aim(settings: DetectionProtocol, cells: int) -> int:
    """Returns the answers that each cell is to have; an adaptive study places them where they tell most."""
    if settings.adaptive.method != "none":
        return 0
    return dashboard.aim_per_cell(settings.recruitment.places, round(settings.main.trials * settings.main.share), cells)


def _cells(reader: DatabaseSession, protocol: Protocol, settings: DetectionProtocol) -> list[tuple[str, int]]:
    query = select(StimulusRow.run, StimulusRow.eps_asked).distinct().where(
        StimulusRow.set_id == protocol.set_id,
        StimulusRow.region == settings.region,
        StimulusRow.run.is_not(None),
    )  # fmt: skip
    if settings.attack:
        query = query.where(StimulusRow.attack == settings.attack)
    found = {(str(run), eps) for run, eps in reader.execute(query)}
    return sorted(
        (run, eps)
        for run, eps in found
        if (not settings.runs or run in settings.runs) and (not settings.eps or eps in settings.eps)
    )


class Kept:
    """Overviews of the last moments, so that many open dashboards cost no more than one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, Lock()
        self._kept: dict[tuple[int, Who], tuple[float, Overview]] = {}

    def get(self, protocol_id: int, who: Who, count: Callable[[], Overview]) -> Overview:
        """Returns the overview that is kept, or what ``count`` returns once that has been kept for long enough."""
        with self._lock:
            until, kept = self._kept.get((protocol_id, who), (0.0, None))
            if kept is None or self._clock() >= until:
                began, kept = self._clock(), count()
                took = self._clock() - began
                self._kept[protocol_id, who] = self._clock() + max(KEPT_S, KEPT_TIMES * took), kept
            return kept


@admin.get("/")
@needs("viewer")
def overview() -> Response:
    """The dashboard."""
    return _overview_page("overview.html")


@admin.get("/live")
@needs("viewer", by_itself=True)
def live() -> Response:
    """The part of the dashboard that changes, which the page asks for every few seconds."""
    return _overview_page("live.html")


def _overview_page(template: str) -> Response:
    asked, kept = request.args.get("who", ""), current_app.extensions.setdefault(_KEPT, Kept())
    who: Who = asked if asked in get_args(Who) else "everybody"  # type: ignore[assignment]
    with database().reading() as reader:
        protocol = registration.current_protocol(reader)
        if protocol is None:
            return page("nothing.html")
        previews = tallies.special(reader, protocol.id)["previews"]  # the button must know of the one just made
        seen = kept.get(protocol.id, who, partial(overview_of, reader, protocol, who, datetime.now(UTC)))
    return page(template, seen=seen, who=who, whos=get_args(Who), previews=previews, drawn=_drawn(seen))


def _drawn(seen: Overview) -> dict[str, object]:
    return {
        "rates": figures.hit_rates(seen.rates, "unchanged"),
        "sensitivities": figures.sensitivities(seen.rates.levels),
        "stages": figures.stage_bars(seen.stages),
        "response_times": figures.response_time_bars(seen.response_times, tallies.RT_BIN_MS),
        "minutes": figures.minute_bars(seen.minutes),
    }
