"""``/healthz``: can the server do its work; ``/metrics``: what Prometheus asks for.

Counts of people and answers are read from the database at each scrape; requests are counted where they are served. With
several workers the counts of all are added up, in the files of ``PROMETHEUS_MULTIPROC_DIR``, which ``serve`` sets.
"""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from flask import Blueprint, Flask, Response, current_app, g, jsonify, make_response, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from core.errors import StudyError
from study_app.annotation.tables import Annotator, Assignment, Stroke, TaskRow
from study_app.models import Participant, Protocol, Session
from study_app.models import Response as Answer
from study_app.refusals import Refusal
from study_app.researchers import dashboard
from study_app.settings import app_version
from study_app.state import database, settings

SHARED = "PROMETHEUS_MULTIPROC_DIR"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)  # seconds
FORWARDED = ("X-Forwarded-For", "Forwarded", "X-Real-IP")
_METRICS = "percepsilon_metrics"
health = Blueprint("health", __name__)


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "endpoint", "status")
        self.requests = Counter("percepsilon_requests_total", "Requests served.", labels, registry=self.registry)
        self.seconds = Histogram(
            "percepsilon_request_seconds", "Time to serve a request.", ("endpoint",), buckets=BUCKETS,
            registry=self.registry,
        )  # fmt: skip

    def served(self, endpoint: str, status: int, seconds: float) -> None:
        """Counts a request."""
        self.requests.labels(request.method, endpoint, str(status)).inc()
        self.seconds.labels(endpoint).observe(seconds)


class StudyCollector(Collector):
    """What the database says of people and answers, at the moment of the scrape."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yields the gauges."""
        sessions = GaugeMetricFamily("percepsilon_sessions", "Sessions by status.", labels=("protocol", "status"))
        answers = GaugeMetricFamily("percepsilon_answers", "Answers stored, practice included.", labels=("protocol",))
        strokes = GaugeMetricFamily("percepsilon_strokes", "Strokes stored.", labels=("task",))
        silence = GaugeMetricFamily("percepsilon_last_answer_age_seconds", "Since the last answer was stored.")
        with database().reading() as reader:
            for name, reason, finished, count in reader.execute(_SESSIONS):
                status = dashboard.status(finished=finished, end_reason=reason, silent=False)
                sessions.add_metric((name, status), count)
            for name, count in reader.execute(_ANSWERS):
                answers.add_metric((name,), count)
            last = reader.scalar(select(Answer.received_at).order_by(Answer.id.desc()).limit(1))
            for name, count in reader.execute(_STROKES):
                strokes.add_metric((name,), count)
        if last is not None:
            silence.add_metric((), (datetime.now(UTC) - last).total_seconds())
        yield from (sessions, answers, strokes, silence)


_FINISHED = Session.finished_at.is_not(None)
_SESSIONS = (
    select(Protocol.name, Session.end_reason, _FINISHED, func.count())
    .join(Participant, Participant.protocol_id == Protocol.id)
    .join(Session, Session.participant_id == Participant.id)
    .where(Participant.preview.is_(False))
    .group_by(Protocol.name, Session.end_reason, _FINISHED)
)
_ANSWERS = (
    select(Protocol.name, func.count())
    .join(Participant, Participant.protocol_id == Protocol.id)
    .join(Session, Session.participant_id == Participant.id)
    .join(Answer, Answer.session_id == Session.id)
    .where(Participant.preview.is_(False))
    .group_by(Protocol.name)
)
_STROKES = (
    select(TaskRow.name, func.count())
    .join(Annotator, Annotator.task_id == TaskRow.id)
    .join(Assignment, Assignment.annotator_id == Annotator.id)
    .join(Stroke, Stroke.assignment_id == Assignment.id)
    .group_by(TaskRow.name)
)


def register(app: Flask) -> None:
    """Counts and times every request of the app, and serves the two pages."""
    app.extensions[_METRICS] = Metrics()
    app.before_request(_begin)
    app.after_request(_count)
    app.register_blueprint(health)


def _begin() -> None:
    g.began = time.perf_counter()


def _count(response: Response) -> Response:
    metrics: Metrics = current_app.extensions[_METRICS]
    seconds = time.perf_counter() - g.get("began", time.perf_counter())
    metrics.served(request.endpoint or "none", response.status_code, seconds)
    return response


@health.get("/healthz")
def healthz() -> Response:
    """200 when the database is there and has the schema of this version; else 503, without a reason for strangers."""
    try:
        database().check()
    except (StudyError, SQLAlchemyError):
        current_app.logger.exception("the server is not healthy")
        return make_response(jsonify(status="unhealthy"), 503)
    return jsonify(status="healthy", version=app_version())


@health.get("/metrics")
def metrics() -> Response:
    """The metrics in Prometheus' text format, for this machine or with the token."""
    if not (_is_local() or _has_token()):
        raise Refusal(403, "metrics", "expected a request from this machine, or the token in Authorization: Bearer …")
    response = make_response(generate_latest(_registry()) + generate_latest(_study()))
    response.headers["Content-Type"] = CONTENT_TYPE_LATEST
    return response


def _registry() -> CollectorRegistry:
    if os.environ.get(SHARED):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return registry
    own: Metrics = current_app.extensions[_METRICS]
    return own.registry


def _study() -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(StudyCollector())
    return registry


def _is_local() -> bool:
    """Returns whether the request came from this machine and through no proxy, to which all strangers look local."""
    return request.remote_addr in ("127.0.0.1", "::1") and not any(name in request.headers for name in FORWARDED)


def _has_token() -> bool:
    expected, given = settings().metrics_token, request.headers.get("Authorization", "")
    return bool(expected) and hmac.compare_digest(given.encode(), f"Bearer {expected}".encode())
