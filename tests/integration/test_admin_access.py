"""Researchers' accounts: who gets in, for how long, and what each role may do."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from sqlalchemy import select, update

from core.errors import StudyError
from study_app import security
from study_app.admin import doors
from study_app.admin.access import needs
from study_app.researchers import accounts, ledger, passwords
from study_app.staff import Action, Invitation, Researcher, StaffSession
from tests.staff_site import PASSWORD, Staff, database_of, make_account, member, password_hash
from tests.study_site import ORIGIN, Visitor, close, make_app

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
ROLES = ("viewer", "researcher", "owner")
PAGES = {
    ("GET", "/admin/sign-in"): None,
    ("POST", "/admin/sign-in"): None,
    ("GET", "/admin/invitations/<token>"): None,
    ("POST", "/admin/invitations/<token>"): None,
    ("POST", "/admin/sign-out"): "viewer",
    ("GET", "/admin/"): "viewer",
    ("GET", "/admin/live"): "viewer",
    ("GET", "/admin/account"): "viewer",
    ("POST", "/admin/account/password"): "viewer",
    ("GET", "/admin/participants"): "viewer",
    ("GET", "/admin/participants/<public_id>"): "viewer",
    ("POST", "/admin/participants/<public_id>/exclude"): "researcher",
    ("POST", "/admin/participants/<public_id>/include"): "researcher",
    ("POST", "/admin/study/pause"): "researcher",
    ("POST", "/admin/study/resume"): "researcher",
    ("POST", "/admin/study/close"): "researcher",
    ("POST", "/admin/study/reopen"): "owner",
    ("POST", "/admin/previews"): "researcher",
    ("POST", "/admin/previews/delete"): "researcher",
    ("GET", "/admin/exports"): "researcher",
    ("POST", "/admin/exports"): "researcher",
    ("GET", "/admin/exports/live"): "researcher",
    ("GET", "/admin/exports/<name>.zip"): "researcher",
    ("GET", "/admin/ledger"): "researcher",
    ("GET", "/admin/annotation"): "viewer",
    ("GET", "/admin/annotation/queue"): "viewer",
    ("GET", "/admin/annotation/of/<public_id>"): "viewer",
    ("GET", "/admin/annotation/of/<public_id>/overlay.png"): "viewer",
    ("POST", "/admin/annotation/of/<public_id>/review"): "researcher",
    ("POST", "/admin/annotation/<any(pause, resume, close):what>"): "researcher",
    ("POST", "/admin/annotation/reopen"): "owner",
    ("GET", "/admin/team"): "owner",
    ("POST", "/admin/team/invite"): "owner",
    ("POST", "/admin/team/<int:number>/disable"): "owner",
    ("POST", "/admin/team/<int:number>/enable"): "owner",
}
GUARDED = [(method, rule, role) for (method, rule), role in PAGES.items() if role is not None]


def concrete(rule: str) -> str:
    return (
        rule.replace("<int:number>", "999999")
        .replace("<public_id>", "p-nobody")
        .replace("<name>", "20260101-000000-00000000")
        .replace("<token>", "none")
        .replace("<any(pause, resume, close):what>", "pause")
    )


def test_the_pages_are_these_and_each_names_its_role(site):
    found = {}
    for rule in site.url_map.iter_rules():
        if rule.rule.startswith("/admin"):
            view = site.view_functions[rule.endpoint]
            for method in rule.methods - {"HEAD", "OPTIONS"}:
                found[method, rule.rule] = None if view.needs == "anybody" else view.needs
    assert found == PAGES


@pytest.mark.parametrize(
    "text", ["\x00", "\x00a@b.example", "x" * 5000, "😀", "../../etc", "99999999999999999999", "-1"]
)
def test_no_page_fails_on_what_nobody_would_type(study, text):
    asked = dict.fromkeys(("who", "page", "kind", "status", "before", "said"), text)
    sent = dict.fromkeys(("email", "password", "new", "again", "reason", "note", "role"), text)
    for method, rule in PAGES:
        if rule not in ("/admin/sign-out", "/admin/exports"):
            numbered = rule.replace("<int:number>", "99999999999999999999")
            path = re.sub(r"<(any\(.*\):)?\w+>", quote(text, safe=""), numbered)
            someone = member(study, "owner")
            response = someone.client.get(path, query_string=asked) if method == "GET" else someone.post(path, **sent)
            assert response.status_code < 500, (method, path[:80])


@pytest.mark.parametrize("role", ROLES)
def test_a_role_opens_the_pages_up_to_its_own_and_no_others(site, role):
    for method, rule, needed in GUARDED:
        someone = member(site, role)
        response = (someone.get if method == "GET" else someone.post)(concrete(rule))
        allowed = ROLES.index(role) >= ROLES.index(needed)
        refused = response.status_code == 403 and f"expected the role {needed} or one above it".lower() in (
            response.text.lower()
        )
        assert refused is not allowed, (method, rule, response.status_code)


def test_a_stranger_gets_no_page_and_changes_nothing(site):
    with database_of(site).reading() as reader:
        before = len(list(reader.scalars(select(Action))))
    for method, rule, _ in GUARDED:
        stranger = Staff(site)
        response = (stranger.get if method == "GET" else stranger.post)(concrete(rule))
        if response.status_code == 303:
            assert response.location == "/admin/sign-in"
        else:
            assert response.status_code == 401, (method, rule)
            assert "You are signed out; sign in again." in response.text
    with database_of(site).reading() as reader:
        assert len(list(reader.scalars(select(Action)))) == before


def test_a_page_that_names_no_role_is_not_served(site):
    view = site.view_functions["admin.overview"]
    needed = view.needs
    del view.needs
    try:
        assert member(site, "owner").get("/admin/").status_code == 404
    finally:
        view.needs = needed


def test_signing_in_gives_a_new_token_each_time_that_is_not_in_the_database(site):
    email = make_account(site, "viewer")
    someone, tokens = Staff(site), []
    for _ in range(2):
        response = someone.sign_in(email)
        assert (response.status_code, response.location) == (303, "/admin/")
        tokens.append(someone.cookie)
        assert someone.get("/admin/").status_code == 200
    assert tokens[0] != tokens[1]
    old = Staff(site)
    old.client.set_cookie(security.STAFF, tokens[0])
    assert old.get("/admin/").location == "/admin/sign-in"
    with database_of(site).reading() as reader:
        kept = [row.token_sha256 for row in reader.scalars(select(StaffSession))]
    assert kept == [security.hash_token(tokens[1])]


def test_the_cookie_is_for_this_site_alone_and_no_script(site):
    email = make_account(site, "viewer")
    response = Staff(site).sign_in(email)
    cookie = next(line for line in response.headers.getlist("Set-Cookie") if line.startswith(security.STAFF))
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


@pytest.mark.parametrize("email", ["viewer@lab.example", "nobody@lab.example"])
def test_a_wrong_password_and_an_unknown_address_are_answered_alike(site, email):
    make_account(site, "viewer")
    response = Staff(site).sign_in(email, "some other password")
    assert response.status_code == 401
    assert "The address or the password is not right." in response.text
    with database_of(site).reading() as reader:
        last = reader.scalar(select(Action).order_by(Action.sequence.desc()).limit(1))
    assert last.action == accounts.REFUSED
    assert "nobody" not in last.actor  # what is typed there may be anything, a password too


def test_verifying_for_no_account_hashes_all_the_same():
    passwords.verify(None, "warm up")
    assert not passwords.verify(None, "the password of no account")
    assert passwords.verify(password_hash(), PASSWORD)
    assert not passwords.verify(password_hash(), PASSWORD + " ")
    assert not passwords.verify("no hash at all", PASSWORD)


@pytest.mark.parametrize("email", ["viewer@lab.example", "nobody@lab.example"])
def test_an_address_has_to_wait_after_ten_tries_even_with_the_right_password(site, email, monkeypatch):
    make_account(site, "viewer")
    monkeypatch.setattr(doors, "TRIES", 2)
    for _ in range(2):
        assert Staff(site).sign_in(email, "some other password").status_code == 401
    refused = Staff(site).sign_in(email)
    assert refused.status_code == 429
    assert "too many tries; wait" in refused.text.lower()


def test_a_session_ends_after_half_an_hour_of_silence_and_after_twelve_hours_at_all(site):
    email = make_account(site, "viewer")
    with database_of(site).writing() as writer:
        signed_in = accounts.start(writer, accounts.by_email(writer, email), NOW)
    token = signed_in.token

    def is_in(after: timedelta) -> bool:
        with database_of(site).reading() as reader:
            return accounts.find_session(reader, token, NOW + after) is not None

    assert is_in(timedelta(minutes=29))
    assert not is_in(timedelta(minutes=30))
    for minutes in range(20, 12 * 60, 20):
        with database_of(site).writing() as writer:
            accounts.touch(writer, token, NOW + timedelta(minutes=minutes))
    assert is_in(timedelta(hours=12) - timedelta(seconds=1))
    assert not is_in(timedelta(hours=12))


def test_a_page_that_refreshes_itself_does_not_keep_a_session_alive(site):
    someone = member(site, "viewer")
    earlier = datetime.now(UTC) - timedelta(minutes=20)
    with database_of(site).writing() as writer:
        writer.execute(update(StaffSession).values(last_seen_at=earlier))

    def last_seen():
        with database_of(site).reading() as reader:
            return reader.scalar(select(StaffSession.last_seen_at))

    assert someone.get("/admin/live").status_code == 200
    assert last_seen() == earlier
    assert someone.get("/admin/").status_code == 200
    assert last_seen() > earlier


def test_signing_out_ends_the_session_on_the_server(site):
    someone = member(site, "viewer")
    token = someone.cookie
    assert someone.post("/admin/sign-out").location == "/admin/sign-in"
    assert someone.cookie is None
    someone.client.set_cookie(security.STAFF, token)
    assert someone.get("/admin/").location == "/admin/sign-in"


def test_a_change_needs_the_token_of_the_sign_in_itself(site):
    someone, participant = member(site, "owner"), Visitor(site)
    participant.consent()
    session = participant.client.get_cookie(security.SESSION).value
    someone.client.set_cookie(security.SESSION, session)
    for token in ("", "forged", security.csrf_token(session)):
        response = someone.client.post("/admin/study/pause", data={"csrf": token}, headers=ORIGIN)
        assert response.status_code == 403
    own = {"csrf": security.csrf_token(someone.cookie)}
    elsewhere = {"Origin": "http://elsewhere.example"}
    assert someone.client.post("/admin/study/pause", data=own, headers=elsewhere).status_code == 403
    assert someone.client.post("/admin/study/pause", data=own, headers=ORIGIN).status_code == 303


def test_an_invitation_works_once_and_makes_the_account(site):
    owner = member(site, "owner")
    shown = owner.post("/admin/team/invite", email=" New.One@Lab.Example ", role="researcher")
    assert shown.status_code == 200
    link = shown.text.split('class="link">')[1].split("<")[0]
    path = link.removeprefix("http://localhost")
    assert link not in owner.text("/admin/team")
    guest = Staff(site)
    assert "new.one@lab.example" in guest.text(path)
    weak = guest.post(path, new="short", again="short")
    assert weak.status_code == 422
    assert "expected 15 to 256 characters, got 5" in weak.text
    unequal = guest.post(path, new=PASSWORD, again=PASSWORD + "!")
    assert "expected the same one twice, got two different ones" in unequal.text
    assert guest.post(path, new=PASSWORD, again=PASSWORD).status_code == 303
    assert "new.one@lab.example" in guest.text("/admin/")
    again = Staff(site).get(path)
    assert again.status_code == 404
    assert "This invitation was used, has expired, or never was" in again.text
    assert "has an account already" in owner.post("/admin/team/invite", email="new.one@lab.example", role="owner").text


def test_an_invitation_expires(site):
    owner = member(site, "owner")
    link = owner.post("/admin/team/invite", email="late@lab.example", role="viewer").text
    path = link.split('class="link">')[1].split("<")[0].removeprefix("http://localhost")
    with database_of(site).writing() as writer:
        writer.execute(update(Invitation).values(expires_at=datetime.now(UTC)))
    assert Staff(site).post(path, new=PASSWORD, again=PASSWORD).status_code == 404


def test_a_disabled_account_is_out_at_once_and_comes_back_when_enabled(site):
    owner, other = member(site, "owner"), member(site, "viewer")
    with database_of(site).reading() as reader:
        number = accounts.by_email(reader, "viewer@lab.example").id
    assert owner.post(f"/admin/team/{number}/disable").status_code == 303
    assert other.get("/admin/").location == "/admin/sign-in"
    assert Staff(site).sign_in("viewer@lab.example").status_code == 401
    assert owner.post(f"/admin/team/{number}/enable").status_code == 303
    assert Staff(site).sign_in("viewer@lab.example").status_code == 303


def test_the_last_owner_cannot_be_disabled(site):
    owner = member(site, "owner")
    with database_of(site).reading() as reader:
        number = accounts.by_email(reader, "owner@lab.example").id
    refused = owner.post(f"/admin/team/{number}/disable")
    assert refused.status_code == 422
    assert "expected another owner to remain, found none" in refused.text.lower()


def test_a_changed_password_signs_out_everywhere_but_here(site):
    here, elsewhere = member(site, "viewer"), member(site, "viewer")
    new = "seven quiet herons at noon"
    wrong = here.post("/admin/account/password", password="something else", new=new, again=new)
    assert wrong.status_code == 401
    assert "Your present password is not right." in wrong.text
    weak = here.post("/admin/account/password", password=PASSWORD, new="passwordpassword", again="passwordpassword")
    assert "expected one that is hard to guess, got a repetition" in weak.text
    assert here.post("/admin/account/password", password=PASSWORD, new=new, again=new).status_code == 303
    assert here.get("/admin/").status_code == 200
    assert elsewhere.get("/admin/").location == "/admin/sign-in"
    assert Staff(site).sign_in("viewer@lab.example", new).status_code == 303
    assert Staff(site).sign_in("viewer@lab.example").status_code == 401


@pytest.mark.parametrize(
    ("password", "message"),
    [
        ("fourteen chars", "expected 15 to 256 characters, got 14"),
        ("x" * 257, "expected 15 to 256 characters, got 257"),
        ("aaaaabbbbbcccccd", "got one of fewer than 6 different characters"),
        ("bluewhalebluewhale", "got a repetition"),
        ("qwertyuiopasdfghjkl", "got common words or your address with little else"),
        ("Percepsilon2026!", "got common words or your address with little else"),
        ("ada.lovelace2026", "got common words or your address with little else"),
    ],
)
def test_a_weak_password_is_refused(password, message):
    with pytest.raises(StudyError, match=message):
        passwords.accept(password, "ada.lovelace@lab.example")


@pytest.mark.parametrize(
    "text", ["", "no address", "a@b", "a b@lab.example", "@lab.example", "x" * 200 + "@lab.example"]
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(StudyError, match=r"expected an address such as name@example\.org"):
        accounts.normal_email(text)


def test_an_unknown_role_is_refused(site):
    with (
        pytest.raises(StudyError, match="role: expected one of owner, researcher, viewer, got 'king'"),
        database_of(site).writing() as writer,
    ):
        accounts.add(writer, "a@lab.example", password_hash(), "king", actor="test", now=NOW)
    assert "expected one of owner, researcher, viewer" in (
        member(site, "owner").post("/admin/team/invite", email="a@lab.example", role="king").text
    )


@pytest.fixture
def run(study_url, monkeypatch):
    app = make_app(study_url)
    monkeypatch.setenv("PERCEPSILON_PASSWORD", PASSWORD)
    yield lambda *words: app.test_cli_runner().invoke(args=list(words))
    close(app)


def test_accounts_by_command(run, monkeypatch):
    assert run("researcher", "add", "Ada@Lab.Example", "--role", "owner").output == "ada@lab.example: owner\n"
    twice = run("researcher", "add", "ada@lab.example", "--role", "viewer")
    assert (twice.exit_code, "has an account already" in twice.output) == (1, True)
    run("researcher", "add", "bo@lab.example", "--role", "viewer")
    assert run("researcher", "disable", "bo@lab.example").output == "bo@lab.example: disabled\n"
    assert run("researcher", "list").output.split() == [
        "ada@lab.example", "owner", "active", "bo@lab.example", "viewer", "disabled",
    ]  # fmt: skip
    last = run("researcher", "disable", "ada@lab.example")
    assert "expected another owner to remain, found none" in last.output
    monkeypatch.setenv("PERCEPSILON_PASSWORD", "short")
    weak = run("researcher", "reset-password", "ada@lab.example")
    assert (weak.exit_code, "expected 15 to 256 characters" in weak.output) == (1, True)
    monkeypatch.setenv("PERCEPSILON_PASSWORD", "seven quiet herons at noon")
    assert run("researcher", "reset-password", "ada@lab.example").output == "ada@lab.example: password changed\n"
    nobody = run("researcher", "reset-password", "zoe@lab.example")
    assert "no such account; make it with: flask --app study_app researcher add" in nobody.output
    assert "the chain of 6 actions is whole" in run("audit", "verify").output


def test_the_password_is_asked_for_where_the_environment_has_none(sqlite_url, monkeypatch):
    monkeypatch.delenv("PERCEPSILON_PASSWORD", raising=False)
    app = make_app(sqlite_url)
    result = app.test_cli_runner().invoke(
        args=["researcher", "add", "ada@lab.example", "--role", "owner"], input=f"{PASSWORD}\n{PASSWORD}\n"
    )
    assert result.exit_code == 0, result.output
    assert PASSWORD not in result.output
    with database_of(app).reading() as reader:
        kept = reader.scalar(select(Researcher))
        assert passwords.verify(kept.password_hash, PASSWORD)
        assert kept.password_hash.startswith("$argon2id$")
        assert ledger.verify(reader).actions == 2 + 1  # the study's registration and this
    close(app)


def test_a_page_that_fails_says_so_as_a_researchers_page_and_tells_no_reason(site):
    owner = member(site, "owner")

    def fail():
        raise RuntimeError("a secret of the server")

    site.view_functions["admin.overview"] = needs("viewer")(fail)
    site.config["PROPAGATE_EXCEPTIONS"] = False
    answer = owner.get("/admin/")
    assert answer.status_code == 500
    assert "Something went wrong on the server" in answer.text
    assert "Sign out" in answer.text
    assert "secret" not in answer.text
