"""Who comes from where: what a recruitment platform, or a one-time link, says in the study's address.

It is stored under the browser's token at the first request, and the address becomes a clean one. An id makes one
arrival of a protocol and so one participant. It is also the only proof of who somebody is: with it, a session that was
begun in one browser goes on in another. Whoever knows another person's id could therefore take over that person's
session, and would see the tasks that are left, never the answers given; docs/security.md weighs this.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as DatabaseSession

from study_app import security
from study_app.detection import Platform
from study_app.models import Arrival, OneTimeLink, Protocol, Session

LINK = "link"
NAMES: dict[Platform, tuple[str, str, str]] = {
    "prolific": ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID"),
    "mturk": ("workerId", "hitId", "assignmentId"),
    "sona": ("survey_code", "", ""),
}  # in the address: the person's id, the platform's study, its session
ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
MTURK_PREVIEW = "ASSIGNMENT_ID_NOT_AVAILABLE"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What an address says of who opened it; either a platform's ids or the token of a link."""

    platform: Platform
    id: str
    study: str | None = None
    session: str | None = None


def claim_in(arguments: Mapping[str, str], platform: Platform) -> Claim | None:
    """Returns what an address says, of what a protocol of this platform accepts; ``None`` where that is nothing.

    An open study keeps whatever it is told; the others take their own platform's ids. An id of other letters than a
    platform's (such as a placeholder that was not filled in) is none.
    """
    for name, keys in NAMES.items():
        if platform in (name, "open") and (claim := _claim(arguments, name, keys)):
            return claim
    if platform in (LINK, "open") and ID.fullmatch(arguments.get(LINK, "")):
        return Claim(platform="link", id=arguments[LINK])
    return None


def _claim(arguments: Mapping[str, str], name: Platform, keys: tuple[str, str, str]) -> Claim | None:
    person, study, session = (_checked(arguments.get(key, "")) for key in keys)
    if person is None or session == MTURK_PREVIEW:
        return None
    return Claim(platform=name, id=person, study=study, session=session)


def _checked(text: str) -> str | None:
    return text if ID.fullmatch(text) else None


def arrive(database: DatabaseSession, protocol: Protocol, claim: Claim, visitor: str) -> tuple[Arrival, str] | None:
    """Returns the one arrival of a claim, and the browser's token from now on; ``None`` for a link that is not valid.

    The arrival is bound to the browser. A browser in which somebody else was before gets a new token; of somebody who
    came to an open study without an id, the id is noted.
    """
    link = usable_link(database, protocol, claim.id) if claim.platform == LINK else None
    if claim.platform == LINK and link is None:
        return None
    known = _known(database, protocol, claim, link) or _now_named(database, protocol, claim, link, visitor)
    token = visitor if _is_free(database, visitor, known) else security.new_token()
    arrival = known or _added(database, protocol, claim, link, token)
    arrival.token_sha256 = security.hash_token(token)
    if claim.session is not None:
        arrival.platform_study, arrival.platform_session = claim.study, claim.session
    return arrival, token


def _now_named(
    database: DatabaseSession, protocol: Protocol, claim: Claim, link: OneTimeLink | None, visitor: str
) -> Arrival | None:
    """Returns the arrival of a browser that nobody had sent, with the claim that it has now."""
    arrival = of_browser(database, visitor, lock=True)
    if arrival is None or arrival.platform != "open" or arrival.protocol_id != protocol.id:
        return None
    arrival.platform, arrival.platform_id = claim.platform, None if link else claim.id
    arrival.link_id = link.id if link else None
    return arrival


def _is_free(database: DatabaseSession, visitor: str, known: Arrival | None) -> bool:
    """Returns whether a browser's token is nobody's, or that of the person who arrives."""
    before = of_browser(database, visitor)
    begun = select(Session.participant_id).where(
        Session.token_sha256 == security.hash_token(security.session_token(visitor))
    )
    participant = database.scalar(begun)
    return (before is None or before is known) and (
        participant is None or (known is not None and participant == known.participant_id)
    )


def of_browser(database: DatabaseSession, visitor: str, *, lock: bool = False) -> Arrival | None:
    """Returns the arrival of a browser's token; ``lock`` holds its row until the transaction ends."""
    query = select(Arrival).where(Arrival.token_sha256 == security.hash_token(visitor))
    return database.scalar(query.with_for_update() if lock else query)


def open_arrival(database: DatabaseSession, protocol: Protocol, visitor: str) -> Arrival:
    """Returns the arrival of a browser that nobody sent, and holds its row; one for each browser's token."""
    found = of_browser(database, visitor, lock=True)
    return found or _added(database, protocol, None, None, visitor)


def session_of(database: DatabaseSession, arrival: Arrival) -> Session:
    """Returns the session of somebody who arrived and consented, and holds its row."""
    query = select(Session).where(Session.participant_id == arrival.participant_id).with_for_update(of=Session)
    return database.scalars(query).one()


def usable_link(database: DatabaseSession, protocol: Protocol, token: str) -> OneTimeLink | None:
    """Returns the one-time link of a token, if it is of this protocol and has not expired."""
    link = database.scalar(select(OneTimeLink).where(OneTimeLink.token_sha256 == security.hash_token(token)))
    if link is None or link.protocol_id != protocol.id:
        return None
    return None if link.expires_at is not None and link.expires_at < datetime.now(UTC) else link


def _known(database: DatabaseSession, protocol: Protocol, claim: Claim, link: OneTimeLink | None) -> Arrival | None:
    query = select(Arrival).where(Arrival.protocol_id == protocol.id).with_for_update()
    if link is not None:
        return database.scalar(query.where(Arrival.link_id == link.id))
    return database.scalar(query.where(Arrival.platform == claim.platform, Arrival.platform_id == claim.id))


def _added(
    database: DatabaseSession, protocol: Protocol, claim: Claim | None, link: OneTimeLink | None, visitor: str
) -> Arrival:
    """Adds an arrival; where another request has just added the same one, returns that."""
    arrival = Arrival(
        protocol_id=protocol.id,
        token_sha256=security.hash_token(visitor),
        platform=claim.platform if claim else "open",
        platform_id=claim.id if claim and link is None else None,
        platform_study=claim.study if claim else None,
        platform_session=claim.session if claim else None,
        link_id=link.id if link else None,
        arrived_at=datetime.now(UTC),
    )
    try:
        with database.begin_nested():
            database.add(arrival)
    except IntegrityError:
        same = _known(database, protocol, claim, link) if claim else of_browser(database, visitor, lock=True)
        if same is None:
            raise
        return same
    return arrival


def make_links(
    database: DatabaseSession, protocol: Protocol, *, number: int, label: str, expires_at: datetime | None
) -> list[str]:
    """Returns the tokens of new one-time links of a protocol; the database keeps their hashes alone."""
    tokens = [security.new_token() for _ in range(number)]
    now = datetime.now(UTC)
    database.add_all(
        OneTimeLink(
            protocol_id=protocol.id,
            token_sha256=security.hash_token(token),
            label=label,
            made_at=now,
            expires_at=expires_at,
        )
        for token in tokens
    )
    return tokens
