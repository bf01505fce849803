"""``python -m benchmarks.study_fuzz``: 10,000 hostile requests to every route of the study and its researchers' pages.

After each request: no error of the server, no traceback, and nothing changed in the database that who sent it may not
change. Requests that bring no token of a cookie that they have may change nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
from flask import Flask
from hypothesis import HealthCheck, Phase, given, seed, settings
from sqlalchemy import Table, select, update
from werkzeug.routing import Rule
from werkzeug.test import run_wsgi_app

from benchmarks.claims import RESULTS, Claim, versions, write
from benchmarks.fuzz_requests import HERE, MINE, ORIGIN, Call, calls
from benchmarks.study_site import KINDS, Kind, database, set_up
from core import picture_sets, rng
from core.errors import DONE, REFUSED, StudyError, exit_code
from study_app import create_app
from study_app.annotation.tables import Assignment, TaskRow
from study_app.database import Database
from study_app.models import Base, PlannedTrial, Protocol, Session
from study_app.researchers import accounts, passwords
from study_app.security import ANNOTATOR, CHANGING, CSRF_HEADER, SESSION, STAFF, VISITOR, csrf_token, new_token
from study_app.settings import Settings
from study_app.staff import ROLES, Researcher

COMMAND = "python -m benchmarks.study_fuzz"
STAFF_TABLES = {"researcher", "staff_session", "invitation", "exclusion"}
OWN_TABLES = {"response", "visit", "check_result"}  # of who has a session
DRAWN_TABLES = {"stroke", "submission", "overlap"}  # of who is an annotator
HANDED_OUT = {"assignment", "task_picture", "annotator", "annotation_event"}  # when an annotator asks how to go on
REGISTERED = {"picture_set", "picture"}
LEAKS = re.compile(rb"Traceback|File \"/|sqlalchemy|psycopg|sqlite3?\.|werkzeug|jinja2|/site-packages/", re.IGNORECASE)
PASSWORD = "a long enough password"  # noqa: S105  (of accounts that live as long as a test)
COOKIES = {
    "visitor": VISITOR,
    "participant": SESSION,
    "bystander": SESSION,
    "annotator": ANNOTATOR,
    **dict.fromkeys(ROLES, STAFF),
}
PEOPLE = ("visitor", "participant", "annotator", *ROLES, "stranger")
OF_EACH = 4  # requests at least for each route
RENEWED_EVERY = 50  # requests; those before may have closed the study and ended every session
Fingerprint = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer of the app: status, headers and all of its body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Site:
    """A study with people in it, to which hostile requests are sent in this process.

    Attributes:
        tokens: each one's cookie; of the bystander no request ever brings it.
        mine: name of the picture that the annotator is to paint on.
        counts: of answers, by status, and of what was changed by whom.
    """

    def __init__(self, url: str, instance: Path) -> None:
        self.app: Flask = create_app(Settings(database_url=url, instance=instance, consents_per_minute=0))
        self.database: Database = self.app.extensions["percepsilon_database"]
        self.rules = tuple(sorted(self.app.url_map.iter_rules(), key=lambda rule: (rule.rule, rule.endpoint)))
        self.tokens: dict[str, str] = {"stranger": new_token()}
        self.counts: Counter[str] = Counter()
        self._make_accounts()
        self.tokens["bystander"] = self._consent()
        self._register_pictures(instance.parent)
        self.renew()
        self.names = self._names()

    def renew(self) -> None:
        """Opens the study again and gives everybody a cookie that works."""
        with self.database.writing() as writer:
            writer.execute(update(Protocol).values(paused_at=None, closed_at=None))
            writer.execute(update(TaskRow).values(paused_at=None, closed_at=None))
            writer.execute(update(Researcher).values(disabled_at=None))
            for role in ROLES:
                account = accounts.by_email(writer, f"{role}@example.org")
                assert account is not None
                account.role = role
                self.tokens[role] = accounts.start(writer, account, datetime.now(UTC)).token
        self.tokens["visitor"], self.tokens["participant"] = new_token(), self._consent()
        self.tokens["annotator"] = self._consent("/annotate", ANNOTATOR)
        client = self.app.test_client()
        client.set_cookie(ANNOTATOR, self.tokens["annotator"])
        self.mine = client.get("/annotate/api/v1/state").get_json()["assignment"]["id"]

    def send(self, call: Call) -> Reply:
        """Returns the app's answer to a request, as gunicorn would have passed it on."""
        body, status, headers = run_wsgi_app(self.app.wsgi_app, self._environment(call), buffered=True)
        shown = tuple((name, value) for name, value in headers.items())
        return Reply(status=int(status.split()[0]), headers=shown, body=b"".join(body))

    def genuine(self, call: Call) -> bool:
        """Returns whether a request brings the token of a cookie that it has, from our own address.

        The cookie may be one that we never gave, as from a browser whose session is long deleted.
        """
        return call.token == "own" and call.origin == ORIGIN and bool(call.who)  # noqa: S105

    def _environment(self, call: Call) -> dict[str, Any]:
        own = {COOKIES.get(name, SESSION): self.tokens[name] for name in reversed(call.who)}
        body = call.body.replace(HERE.encode(), self._csrf(call).encode()).replace(MINE.encode(), self.mine.encode())
        cookies = [f"{name}={token}" for name, token in own.items()]
        headers = {
            "Host": "localhost",
            "Cookie": "; ".join(cookies),
            "Origin": call.origin,
            CSRF_HEADER: self._csrf(call),
            **dict(call.headers),
        }
        return {
            "REQUEST_METHOD": call.method, "PATH_INFO": _wsgi(call.path.replace(MINE, self.mine)),
            "QUERY_STRING": call.query,
            "SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": call.content_type, "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body),
            "wsgi.url_scheme": "http", "wsgi.errors": io.StringIO(),
            "wsgi.version": (1, 0), "wsgi.multithread": True,
            "wsgi.multiprocess": True, "wsgi.run_once": False,
            **{f"HTTP_{name.upper().replace('-', '_')}": _wsgi(value) for name, value in headers.items() if value},
        }  # fmt: skip

    def _csrf(self, call: Call) -> str:
        match call.token:
            case "own":
                return csrf_token(self.tokens[call.who[0]]) if call.who else ""
            case "of somebody else":
                return csrf_token(self.tokens["bystander"])
            case "wrong":
                return "0" * 64
            case _:
                return ""

    def _consent(self, task: str = "", kept: str = SESSION) -> str:
        client = self.app.test_client()
        client.get(f"{task}/")
        cookie = client.get_cookie(VISITOR)
        assert cookie is not None
        headers = {"Origin": ORIGIN, CSRF_HEADER: csrf_token(cookie.value)}
        client.post(f"{task}/consent", data={"consent": "yes"}, headers=headers)
        if (session := client.get_cookie(kept)) is None:
            raise StudyError("the fuzzed study: expected a session after consent, got none")
        return session.value

    def _make_accounts(self) -> None:
        now = datetime.now(UTC)
        with self.database.writing() as writer:
            for role in ROLES:
                hashed = passwords.accept(PASSWORD, f"{role}@example.org")
                accounts.add(writer, f"{role}@example.org", hashed, role, actor="fuzz", now=now)

    def _register_pictures(self, folder: Path) -> None:
        """Registers a task whose pictures are handed out to as many annotators as come."""
        draw = rng.numpy_generator(1, "pictures to paint on")
        names = [f"train/noise/{place:02d}" for place in range(4)]
        named = ((name, "noise", draw.integers(0, 256, (12, 16, 3), dtype=np.uint8)) for name in names)
        picture_sets.write(folder / "to-paint", ("noise",), named)
        task = folder / "task.toml"
        task.write_text('name = "fuzzed"\nminimum_seconds = 0\nannotators_per_picture = 2000\n', encoding="utf-8")
        registered = ["register-annotation", str(task), "--pictures", "to-paint"]
        for command in (["register-pictures", str(folder / "to-paint")], registered):
            done = self.app.test_cli_runner().invoke(args=command)
            if done.exit_code:
                raise StudyError(f"flask --app study_app {' '.join(command)}: {done.output}")

    def _names(self) -> tuple[str, ...]:
        """Returns the names by which things go in paths: one's own, somebody else's, and numbers of rows."""
        with self.database.reading() as reader:
            pictures = reader.scalars(select(PlannedTrial.token).order_by(PlannedTrial.id.desc()).limit(4))
            sessions = reader.scalars(select(Session.public_id))
            people = [session.participant.public_id for session in reader.scalars(select(Session))]
            steps = ("about-you", "device", "colour-vision", "calibration", "study.css", "plates")
            drawn = reader.scalars(select(Assignment.token))
            return (*pictures, *sessions, *people, *steps, *drawn, MINE, "pause", "close", "resume")


def _wsgi(text: str) -> str:
    return text.encode("utf-8", "surrogatepass").decode("latin-1")


class Judge:
    """Says what is wrong with an answer, and what changed that should not have."""

    def __init__(self, site: Site) -> None:
        self._site, self._mark = site, Mark(site.database)
        self._tables, self._bystander = self._look()

    def refresh(self) -> None:
        """Takes what is there now as what was there before the next request."""
        self._mark.moved()
        self._tables, self._bystander = self._look()

    def judge(self, call: Call, reply: Reply) -> list[str]:
        """Returns what must not be, in words; empty if all is well."""
        return [*_wrong_in(reply, call), *self._wrong_changes(call)]

    def close(self) -> None:
        """Gives its connection back."""
        self._mark.close()

    def _wrong_changes(self, call: Call) -> list[str]:
        if not self._mark.moved():
            return []
        before, bystander = self._tables, self._bystander
        self._tables, self._bystander = self._look()
        changed = {name for name in before if before[name] != self._tables[name]}
        self._site.counts["requests that changed something"] += bool(changed)
        wrong = [f"changed {name}" for name in sorted(changed - may_change(self._site, call))]
        return wrong if bystander == self._bystander else [*wrong, "changed the rows of a participant who sent nothing"]

    def _look(self) -> tuple[Fingerprint, str]:
        return fingerprint(self._site.database, self._site.tokens["bystander"])


def may_change(site: Site, call: Call) -> set[str]:
    """Returns the tables that a request may change."""
    tables = set(Base.metadata.tables)
    roles = [name for name in call.who if name in ROLES]
    if call.method not in CHANGING:  # who opens the address with a platform's ids is noted; so are downloads
        handed_out = HANDED_OUT if "annotator" in call.who else set()
        return {"arrival"} | handed_out | ({"staff_session", "action"} if roles else set())
    if not site.genuine(call):
        return set()
    if not roles:  # who has no sign-in yet may begin one, with the password
        tables -= (STAFF_TABLES | {"protocol", "review"}) - (
            {"staff_session"} if call.endpoint == "admin.do_sign_in" else set()
        )
    elif roles == ["viewer"]:
        tables -= {"protocol", "exclusion", "invitation", "review"}
    tables -= REGISTERED | (set() if "participant" in call.who else OWN_TABLES)
    return tables if "annotator" in call.who else tables - DRAWN_TABLES


def _wrong_in(reply: Reply, call: Call) -> list[str]:
    wrong = []
    if reply.status >= 500:
        wrong.append(f"status {reply.status}")
    if LEAKS.search(reply.body) and not call.path.startswith("/static/"):
        wrong.append("a text of the server's insides")
    if not any(name.lower() == "content-security-policy" for name, _ in reply.headers):
        wrong.append("no Content-Security-Policy")
    return wrong


class Mark:
    """Tells whether anything was written since it was last asked."""

    def __init__(self, kept: Database) -> None:
        self._connection = kept.engine.connect()
        postgres = self._connection.dialect.name == "postgresql"
        self._query = "SELECT pg_current_wal_insert_lsn()" if postgres else "PRAGMA data_version"
        self._last = self._value()

    def moved(self) -> bool:
        """Returns whether a transaction has written since the last call; on PostgreSQL, or its own housekeeping."""
        last, self._last = self._last, self._value()
        return last != self._last

    def close(self) -> None:
        """Gives its connection back."""
        self._connection.close()

    def _value(self) -> str:
        value = str(self._connection.exec_driver_sql(self._query).scalar())
        self._connection.rollback()
        return value


def fingerprint(kept: Database, bystander: str) -> tuple[Fingerprint, str]:
    """Returns a hash of each table's rows, and one of all rows that belong to the bystander's session."""
    found, theirs = {}, hashlib.sha256()
    with kept.reading() as reader:
        hashed = hashlib.sha256(bystander.encode()).hexdigest()
        session = reader.scalar(select(Session.id).where(Session.token_sha256 == hashed))
        for name, table in Base.metadata.tables.items():
            rows = reader.execute(select(table).order_by(*table.primary_key.columns)).all()
            found[name] = hashlib.sha256(repr(rows).encode()).hexdigest()
            theirs.update(repr(_of_session(table, rows, session)).encode())
    return found, theirs.hexdigest()


def _of_session(table: Table, rows: Sequence[Any], session: int | None) -> list[Any]:
    name = "id" if table.name == "session" else "session_id"
    return [row for row in rows if getattr(row, name) == session] if name in table.c else []


def fuzz(site: Site, *, requests: int, start: int) -> list[str]:
    """Sends so many requests, drawn from ``start``, and counts them; returns what must not be, with its request.

    Some are made for each route in turn, so that none is left out by chance; the others are drawn.
    """
    judge, faults = Judge(site), []
    for place, rule in enumerate(site.rules):
        faults += _sent(site, judge, (rule,), min(OF_EACH, requests // len(site.rules)), start + place)
    faults += _sent(site, judge, site.rules, requests - site.counts["requests"], start)
    judge.close()
    return faults


def _sent(site: Site, judge: Judge, rules: Sequence[Rule], requests: int, start: int) -> list[str]:
    faults: list[str] = []

    @seed(start)
    @settings(
        max_examples=requests, database=None, deadline=None, phases=[Phase.generate], derandomize=False,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(calls(rules, site.names, PEOPLE))
    def send(call: Call) -> None:
        if site.counts["requests"] % RENEWED_EVERY == 0:
            site.renew()
            judge.refresh()
        reply = site.send(call)
        site.counts.update(["requests", f"status {reply.status // 100}xx", f"route {call.endpoint}"])
        if wrong := judge.judge(call, reply):
            faults.append(f"{'; '.join(wrong)}: {call!r} -> {reply.status} {reply.body[:300]!r}")

    cast("Any", send)()
    return faults


def measure(kind: Kind, requests: int, start: int) -> tuple[list[Claim], list[str]]:
    """Returns the claims about one kind of database, and the faults that were found."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(database(kind, folder))
        set_up(url, folder, trials=8, seed=start)
        site = Site(url, folder / "instance")
        faults = fuzz(site, requests=requests, start=start)
        site.database.engine.dispose()
    return claims(kind, site, faults, requests, start), faults


def claims(kind: Kind, site: Site, faults: Sequence[str], requests: int, start: int) -> list[Claim]:
    """Returns what was sent and what was found."""
    routes, counts = {rule.endpoint for rule in site.rules}, site.counts
    reached = sum(f"route {name}" in counts for name in routes)
    rows: list[tuple[str, int, str, float | None, bool | None]] = [
        ("hostile requests", counts["requests"], "requests", requests, counts["requests"] >= requests),
        ("errors of the server, leaks, changes that were not theirs to make", len(faults), "faults", 0, not faults),
        ("routes that requests were made for", reached, "routes", len(routes), reached == len(routes)),
        ("requests that changed what they may", counts["requests that changed something"], "requests", None, None),
    ]
    statuses = sorted(name for name in counts if name.startswith("status "))
    rows += [(f"answers with {name}", counts[name], "answers", None, None) for name in statuses]
    return [
        Claim(
            claim=f"{kind}: {words}", value=value, unit=unit, aim=aim, met=met, n=requests, seed=start,
            command=COMMAND, versions=versions("flask", "hypothesis", "sqlalchemy"),
        )
        for words, value, unit, aim, met in rows
    ]  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Sends the requests, half of them to each kind of database; writes the counts and prints what must not be."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=main.__doc__)
    parser.add_argument("--requests", type=int, default=10_000, help="in all (10000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS / "study_fuzz.json")
    options = parser.parse_args(argv)
    kept: list[Claim] = []
    faults: list[str] = []
    for number, kind in enumerate(KINDS):
        measured, found = measure(kind, options.requests // len(KINDS), options.seed + number)
        kept, faults = kept + measured, faults + found
    write(options.out, kept)
    for row in kept:
        print(f"{row.value:8g} {row.unit:9} {row.claim}")
    print(*faults[:50], sep="\n", file=sys.stderr)
    return DONE if all(row.met is not False for row in kept) else REFUSED


if __name__ == "__main__":
    sys.exit(exit_code(main))
