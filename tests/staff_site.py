"""Researchers as the tests need them: accounts made without a hash each time, signed in, with their tokens."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

from study_app import accounts, passwords
from study_app.security import CSRF_FIELD, STAFF, VISITOR, csrf_token
from study_app.staff import Researcher
from tests.study_site import ORIGIN

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
