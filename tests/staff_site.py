"""Researchers as the tests need them: accounts made without a hash each time, signed in, with their tokens."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

from sqlalchemy import select

from study_app import registration
from study_app.admin.overview import overview_of
from study_app.models import Participant, PlannedTrial, Session, StimulusRow
from study_app.researchers import accounts, passwords
from study_app.security import CSRF_FIELD, STAFF, VISITOR, csrf_token
from study_app.staff import Researcher
from tests.study_site import ORIGIN, Visitor

PASSWORD = "grey pebbles under water"


@cache
def password_hash() -> str:
    return passwords.accept(PASSWORD, "nobody@lab.example")


def database_of(app):
    return app.extensions["percepsilon_database"]


def make_account(app, role: str, email: str | None = None) -> str:
    email = email or f"{role}@lab.example"
    with database_of(app).writing() as writer:
        accounts.add(writer, email, password_hash(), role, actor="test", now=datetime.now(UTC))
    return email


class Staff:
    """Somebody at the researchers' pages in a Flask test client."""

    def __init__(self, app) -> None:
        self.app, self.client = app, app.test_client()

    @property
    def cookie(self) -> str | None:
        found = self.client.get_cookie(STAFF)
        return None if found is None else found.value

    def get(self, path: str):
        return self.client.get(path)

    def text(self, path: str) -> str:
        response = self.get(path)
        assert response.status_code == 200, response.text
        return response.text

    def post(self, path: str, **form):
        if not (token := self.client.get_cookie(STAFF) or self.client.get_cookie(VISITOR)):
            self.client.get("/admin/sign-in")
            token = self.client.get_cookie(VISITOR)
        data = {CSRF_FIELD: csrf_token(token.value), **form}
        return self.client.post(path, data=data, headers=ORIGIN)

    def sign_in(self, email: str, password: str = PASSWORD):
        return self.post("/admin/sign-in", email=email, password=password)

    def enter(self, email: str) -> Staff:
        """Signs in without the form, and without its hashing."""
        with database_of(self.app).writing() as writer:
            token = accounts.start(writer, accounts.by_email(writer, email), datetime.now(UTC)).token
        self.client.set_cookie(STAFF, token)
        return self


def member(app, role: str) -> Staff:
    """Somebody with a role, who is signed in; the account is made when there is none."""
    with database_of(app).reading() as reader:
        known = reader.query(Researcher).filter_by(email=f"{role}@lab.example").count()
    if not known:
        make_account(app, role)
    return Staff(app).enter(f"{role}@lab.example")


def truth(app) -> dict[int, tuple[bool, str, int]]:
    """Returns signal, source model and ε of each planned trial by its row id."""
    with database_of(app).reading() as reader:
        query = select(PlannedTrial.session_id, PlannedTrial.trial_index, StimulusRow.run, StimulusRow.eps_asked)
        rows = reader.execute(query.join(StimulusRow, PlannedTrial.stimulus_id == StimulusRow.id)).all()
        ids = {session.id: session.public_id for session in reader.scalars(select(Session))}
    return {(ids[session], index): (run, eps) for session, index, run, eps in rows}


def play(app, respond, *, trials: int = 10, **facts) -> Visitor:
    """Somebody who takes part; ``respond`` says yes or no from source model and ε."""
    someone = Visitor(app)
    assert someone.consent().status_code == 303
    state = someone.state()
    known = truth(app)
    for trial in state["trials"][:trials]:
        answer = "yes" if respond(*known[state["session_id"], trial["index"]]) else "no"
        assert someone.answer(trial["index"], response=answer, **facts).status_code == 201
    if trials == 10:
        assert someone.finish().status_code == 200
    return someone


def overview(app, who="everybody", now=None):
    with database_of(app).reading() as reader:
        return overview_of(reader, registration.current_protocol(reader), who, now or datetime.now(UTC))


def participant_of(app, visitor: Visitor) -> str:
    with database_of(app).reading() as reader:
        query = select(Participant.public_id).join(Session, Session.participant_id == Participant.id)
        return reader.scalar(query.where(Session.public_id == visitor.state()["session_id"]))


def exclude(app, visitor: Visitor, researcher: Staff, **form) -> str:
    name = participant_of(app, visitor)
    values = {"reason": "inattentive", "note": "looked away", **form}
    assert researcher.post(f"/admin/participants/{name}/exclude", **values).status_code == 303
    return name
