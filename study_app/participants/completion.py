"""What a participant takes home: the code of how the session ended, and the platform's address for it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from sqlalchemy import select
from sqlalchemy.orm import Session as DatabaseSession

from study_app.models import Arrival, Session
from study_app.participants import participation


@dataclass(frozen=True, kw_only=True)
class Ending:
    """The end of a session, as its person sees it.

    Attributes:
        code: to give to the platform or to the researcher; empty where there is none.
        address: of the platform's page that takes the code; empty where there is none.
    """

    code: str
    address: str


def ending(database: DatabaseSession, session: Session) -> Ending:
    """Returns the code and the address for how a session ended; a finished one's code is there from then on."""
    recruitment = participation.protocol_of(session).recruitment
    match session.end_reason:
        case "screened-out":
            code = recruitment.screened_out_code
        case "timed-out":
            code = recruitment.timed_out_code
        case _:
            code = (recruitment.complete_code or session.completion_code or "") if session.finished_at else ""
    return Ending(code=code, address=_address(database, session, recruitment.return_url, code) if code else "")


def _address(database: DatabaseSession, session: Session, pattern: str, code: str) -> str:
    """Returns the platform's address; empty where it needs an id that is not kept."""
    if "{id}" not in pattern:
        return pattern.replace("{code}", quote(code, safe=""))
    person = database.scalar(select(Arrival.platform_id).where(Arrival.participant_id == session.participant_id))
    return pattern.replace("{code}", quote(code, safe="")).replace("{id}", quote(person, safe="")) if person else ""
