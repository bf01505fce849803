"""The dashboard: everything that a study says of itself while it runs."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import get_args

from flask import Response, current_app, request
from sqlalchemy import select
from sqlalchemy.orm import Session as DatabaseSession

from study_app import dashboard, detection, places, registration, steps, tallies
from study_app.admin import figures
from study_app.admin.access import admin, needs, page
from study_app.dashboard import Interval, Quota, Rates, Stage
from study_app.detection import DetectionProtocol
from study_app.models import Protocol, StimulusRow
from study_app.state import database
from study_app.tallies import Chosen, Who

MINUTES = 60
RT_BINS = 30
SILENT_AFTER = timedelta(minutes=2)
KEPT_S = 2.0  # how long an overview is shown again before it is counted anew
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

    def __init__(self) -> None:
        self._lock, self._kept = Lock(), dict[tuple[int, Who], tuple[float, Overview]]()

    def get(self, reader: DatabaseSession, protocol: Protocol, who: Who) -> Overview:
        """Returns an overview that is no older than ``KEPT_S``."""
        with self._lock:
            made, kept = self._kept.get((protocol.id, who), (0.0, None))
            if kept is None or time.monotonic() - made > KEPT_S:
                kept = overview_of(reader, protocol, who, datetime.now(UTC))
                self._kept[protocol.id, who] = time.monotonic(), kept
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
    who = request.args.get("who", "everybody")
    kept: Kept = current_app.extensions.setdefault(_KEPT, Kept())
    with database().reading() as reader:
        protocol = registration.current_protocol(reader)
        if protocol is None:
            return page("nothing.html")
        previews = tallies.special(reader, protocol.id)["previews"]  # the button must know of the one just made
        seen = kept.get(reader, protocol, who if who in get_args(Who) else "everybody")  # type: ignore[arg-type]
    return page(template, seen=seen, who=who, whos=get_args(Who), previews=previews, drawn=_drawn(seen))


def _drawn(seen: Overview) -> dict[str, object]:
    return {
        "rates": figures.hit_rates(seen.rates, "unchanged"),
        "sensitivities": figures.sensitivities(seen.rates.levels),
        "stages": figures.stage_bars(seen.stages),
        "response_times": figures.response_time_bars(seen.response_times, tallies.RT_BIN_MS),
        "minutes": figures.minute_bars(seen.minutes),
    }
