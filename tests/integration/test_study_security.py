"""What docs/security.md promises: cookies, headers, forged requests, limits, errors, and one's own data alone."""

from __future__ import annotations

import base64
import dataclasses
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from core.errors import ConfigError
from study_app import limits, security
from study_app.models import Base, Participant, Response, Session
from study_app.refusals import Refusal
from study_app.security import SESSION, VISITOR
from study_app.settings import ROOT, from_environment
from tests.study_recruitment import ALL_STEPS, DEVICE, Person, read_plates, recruiting, reregister, rows
from tests.study_site import close, make_answer, make_app

OF_PARTICIPANTS = ("pages", "steps", "api")
INLINE = re.compile(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", re.IGNORECASE)
OPTIONS = {"token": "x" * 32, "name": "device", "index": "0", "filename": "study.css", "id": "1", "what": "pause"}


@pytest.fixture
def app(sqlite_url):
    made = make_app(sqlite_url)
    yield made
    close(made)


def addresses(app, method: str) -> list[tuple[str, str]]:
    """Every endpoint that takes a method, with an address of it."""
    found = []
    for rule in app.url_map.iter_rules():
        if method in (rule.methods or ()):
            values = {name: OPTIONS.get(name, "1") for name in rule.arguments}
            with app.test_request_context():
                found.append((rule.endpoint, app.url_for(rule.endpoint, **values)))
    return found


def everything(app) -> list:
    with app.extensions["percepsilon_database"].reading() as reader:
        return [reader.execute(select(table)).all() for table in Base.metadata.sorted_tables]


# ---- cookies and transport ----------------------------------------------------------------------------------------


def test_over_https_cookies_are_bound_to_the_host_closed_to_scripts_and_small(app):
    client = app.test_client()
    first = client.get("/", base_url="https://localhost")
    visitor = client.get_cookie(f"__Host-{VISITOR}")
    headers = {"Origin": "https://localhost", "X-CSRF-Token": security.csrf_token(visitor.value)}
    consent = client.post("/consent", data={"consent": "yes"}, headers=headers, base_url="https://localhost")
    for reply, name in ((first, VISITOR), (consent, SESSION)):
        cookie = reply.headers["Set-Cookie"]
        assert cookie.startswith(f"__Host-{name}=")
        for part in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"):
            assert part in cookie
        assert "Domain" not in cookie
        assert len(cookie) < 4096
    assert client.get("/study", base_url="https://localhost").status_code == 200


def test_tokens_have_more_than_128_random_bits_and_are_kept_as_hashes(app):
    token = security.new_token()
    assert len(base64.urlsafe_b64decode(token + "==")) * 8 >= 128
    assert len({security.new_token() for _ in range(1000)}) == 1000
    someone = Person(app)
    someone.consent()
    assert rows(app, select(Session.token_sha256)) == [(security.hash_token(someone.client.get_cookie(SESSION).value),)]
    for table in everything(app):
        assert someone.client.get_cookie(SESSION).value not in str(table)


def test_the_session_has_a_token_of_its_own_that_the_browser_did_not_have_before(app):
    someone = Person(app)
    someone.open()
    before = someone.client.get_cookie(VISITOR).value
    someone.consent()
    assert someone.client.get_cookie(SESSION).value != before


def test_https_is_demanded_from_then_on_and_only_there(app):
    client = app.test_client()
    assert client.get("/", base_url="https://localhost").headers["Strict-Transport-Security"] == "max-age=31536000"
    assert "Strict-Transport-Security" not in client.get("/").headers


def test_a_proxys_word_counts_only_where_the_settings_name_one(sqlite_url):
    for proxies, secure in ((0, False), (1, True)):
        app = make_app(sqlite_url, trusted_proxies=proxies)
        reply = app.test_client().get("/", headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": "1.2.3.4"})
        assert ("__Host-" in reply.headers["Set-Cookie"]) is secure
        close(app)


@pytest.mark.parametrize("name", ["PERCEPSILON_PROXIES", "PERCEPSILON_CONSENTS_PER_MINUTE"])
def test_a_setting_that_is_no_number_is_refused(name):
    with pytest.raises(ConfigError, match=f"{name}: expected a whole number of at least 0, got 'many'"):
        from_environment({name: "many"})


def test_the_settings_come_from_the_environment():
    found = from_environment({"PERCEPSILON_PROXIES": "2", "PERCEPSILON_CONSENTS_PER_MINUTE": "0"})
    assert (found.trusted_proxies, found.consents_per_minute) == (2, 0)
    assert dataclasses.replace(from_environment({}), database_url="") == dataclasses.replace(
        from_environment({"PERCEPSILON_PROXIES": ""}), database_url=""
    )


# ---- pages --------------------------------------------------------------------------------------------------------


def test_every_answer_carries_the_headers(app):
    someone = Person(app)
    someone.consent()
    for endpoint, address in [*addresses(app, "GET"), ("none", "/nowhere")]:
        with someone.client.get(address) as reply:
            for name, value in security.HEADERS.items():
                assert reply.headers[name] == value, endpoint
            if endpoint not in ("static", "api.picture"):
                assert reply.headers["Cache-Control"] == "no-store", endpoint


def test_no_page_has_script_or_style_of_its_own_or_names_another_site(app, tmp_path):
    reregister(app, tmp_path, ALL_STEPS)
    someone = Person(app)
    pages = [someone.open(), someone.client.get("/nowhere", headers={"Accept": "text/html"})]
    someone.consent()
    forms = {"about-you": {"normal_vision": "yes"}, "device": DEVICE, "colour-vision": read_plates(app)}
    for name in ("about-you", "device", "colour-vision", "calibration"):
        pages.append(someone.client.get(f"/steps/{name}"))
        someone.step(name, **forms.get(name, {"card_css_px": "320"}))
    pages += [someone.client.get(path) for path in ("/study", "/withdraw")]
    for page in pages:
        text = page.get_data(as_text=True)
        assert text.startswith("<!doctype html>")
        assert not INLINE.search(text), text
        assert not re.search(r"https?://", text)


# ---- forged requests ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forged", ["no origin", "other origin", "no token", "token of another browser"])
def test_no_address_takes_a_forged_request(app, forged):
    someone, other = Person(app), Person(app)
    someone.consent()
    other.open()
    honest = someone.headers
    headers = {
        "no origin": {**honest, "Origin": ""},
        "other origin": {**honest, "Origin": "http://elsewhere.example"},
        "no token": {"Origin": honest["Origin"]},
        "token of another browser": other.headers,
    }[forged]
    before = everything(app)
    for method in security.CHANGING:
        for endpoint, address in addresses(app, method):
            body = {"json": {}} if address.startswith("/api/") else {"data": {"consent": "yes", "sure": "yes"}}
            reply = someone.client.open(address, method=method, headers=headers, **body)
            assert reply.status_code == 403, endpoint
            if endpoint.split(".")[0] in OF_PARTICIPANTS:
                assert reply.get_json()["error"]["code"] == ("origin" if "origin" in forged else "csrf")
    assert everything(app) == before


def test_a_get_changes_nothing(app):
    someone = Person(app)
    someone.consent()
    someone.answer(0)
    before = everything(app)
    for endpoint, address in addresses(app, "GET"):
        with someone.client.get(address, headers={"X-CSRF-Token": someone.headers["X-CSRF-Token"]}):
            assert everything(app) == before, endpoint


# ---- one's own data -----------------------------------------------------------------------------------------------


def test_no_address_of_participants_names_a_session_or_a_participant(app):
    ours = [rule for rule in app.url_map.iter_rules() if rule.endpoint.split(".")[0] in OF_PARTICIPANTS]
    names = {name for rule in ours for name in rule.arguments}
    assert names == {"token", "name", "index"}, "random name of a picture, name of a step, number of one's own plate"


def test_a_session_reaches_nothing_of_another(app, tmp_path):
    reregister(app, tmp_path, "[eligibility]\nnormal_vision = true\ncolour_vision = true\n")
    ahead, behind = Person(app), Person(app)
    for each in (ahead, behind):
        each.consent()
    ahead.step("about-you", normal_vision="yes")
    assert behind.client.get("/steps/colour-vision").headers["Location"] == "/steps/about-you"
    assert behind.client.get("/steps/colour-vision/plates/0").status_code == 404
    behind.send("/withdraw", sure="yes")
    assert rows(app, select(Participant.withdrawn_at.is_not(None)).order_by(Participant.number)) == [(False,), (True,)]
    assert ahead.client.get("/steps/colour-vision").status_code == 200


def test_pictures_and_answers_are_of_ones_own_session(study, new_visitor):
    someone, other = new_visitor(), new_visitor()
    someone.consent()
    other.consent()
    for trial in someone.state()["trials"][:3]:
        assert other.client.get(trial["pictures"][0]).status_code == 404
    answer = make_answer(0)
    assert someone.post(answer).status_code == 201
    assert other.post(answer).status_code == 409, "a client_uuid of another session is refused"
    assert rows(study, select(func.count(Response.id))) == [(1,)]
    assert other.finish().get_json()["error"]["missing"] == list(range(10))


# ---- limits -------------------------------------------------------------------------------------------------------


@pytest.fixture
def one_window(monkeypatch):
    """Time stands still for the limits, so that no window ends within a test."""
    ends_at = int(time.time()) + 1800
    monkeypatch.setattr(limits, "_window", lambda _seconds: ends_at)


def test_consent_is_limited_for_a_browser_over_all_workers(study_url, one_window):
    workers = [make_app(study_url) for _ in range(2)]
    someone = Person(workers[0])
    someone.open()
    visitor = someone.client.get_cookie(VISITOR).value
    statuses = []
    for attempt in range(32):
        copy = Person(workers[attempt % 2])
        copy.client.set_cookie(VISITOR, visitor)
        statuses.append(copy.send("/consent").status_code)
    assert statuses == [303] * 30 + [429] * 2
    refused = someone.send("/consent", consent="yes")
    assert 0 < int(refused.headers["Retry-After"]) <= 3600
    assert refused.get_json()["error"]["code"] == "too many"
    assert Person(workers[0]).consent().status_code == 303, "another browser is not concerned"
    for app in workers:
        close(app)


def test_consents_of_everybody_are_limited_where_the_settings_say_so(sqlite_url, one_window):
    app = make_app(sqlite_url, consents_per_minute=3)
    statuses = [Person(app).consent().status_code for _ in range(5)]
    assert statuses == [303] * 3 + [429] * 2
    close(app)


def test_arrivals_of_everybody_are_limited_too(sqlite_url, tmp_path, one_window):
    app = make_app(sqlite_url, consents_per_minute=1)
    reregister(app, tmp_path, recruiting("prolific"))
    statuses = [app.test_client().get(f"/?PROLIFIC_PID=person-{number}").status_code for number in range(10)]
    assert statuses == [303] * 4 + [429] * 6
    close(app)


def test_a_limit_counts_every_try_of_many_at_once(study, one_window):
    def attempt(_) -> bool:
        with study.app_context():
            try:
                limits.check("test", "key", 5, 3600)
            except Refusal as refusal:
                return refusal.status != 429
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(20))) == 5
    with study.app_context():
        limits.check("test", "another key", 5, 3600)


def test_a_limit_ends_with_its_window(study):
    with study.app_context():
        limits.check("brief", "key", 1, 1)
        time.sleep(1.01)
        limits.check("brief", "key", 1, 1)


def test_what_is_refused_within_a_transaction_leaves_nothing(study, one_window):
    with study.app_context():
        for _ in range(2):
            with study.extensions["percepsilon_database"].writing() as writer:
                limits.check_within(writer, "within", "key", 2, 3600)
        with (
            pytest.raises(Refusal, match="too many tries; wait"),
            study.extensions["percepsilon_database"].writing() as writer,
        ):
            limits.check_within(writer, "within", "key", 2, 3600)


# ---- bodies, methods, errors --------------------------------------------------------------------------------------


def test_a_body_that_is_too_large_is_refused_in_the_one_shape(visitor):
    large = "x" * (security.BODY_LIMIT + 1)
    for path in ("/api/v1/trials", "/api/v1/visits", "/api/v1/finish"):
        reply = visitor.client.post(path, json={"note": large}, headers=visitor.headers)
        assert (reply.status_code, set(reply.get_json())) == (413, {"error"}), path
    page = visitor.client.post("/withdraw", data={"sure": large}, headers={**visitor.headers, "Accept": "text/html"})
    assert page.status_code == 413
    assert "could not be understood" in page.get_data(as_text=True)


def test_a_body_that_is_nested_too_deeply_is_refused_in_the_one_shape(visitor):
    deep = "[" * 20_000 + "]" * 20_000
    for path in ("/api/v1/trials", "/api/v1/visits"):
        reply = visitor.client.post(path, data=deep, content_type="application/json", headers=visitor.headers)
        assert (reply.status_code, set(reply.get_json())) == (422, {"error"}), path


@pytest.mark.parametrize("path", ["/", "/admin/", "/api/v1/trials", "/annotate/"])
def test_a_host_that_cannot_be_one_is_refused(app, path):
    reply = app.test_client().get(path, headers={"Host": "9" * 300, "Accept": "text/html"})
    assert (reply.status_code, reply.get_json()["error"]["code"]) == (400, "host")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"])
def test_a_method_that_is_not_known_is_refused(visitor, method):
    api = visitor.client.open("/api/v1/trials", method=method, json={}, headers=visitor.headers)
    assert api.status_code == 405
    assert set(api.get_json()["error"]) == {"code", "message"}
    assert "POST" in api.headers["Allow"]
    assert visitor.client.open("/withdraw", method=method, headers=visitor.headers).status_code == 405


def test_an_error_inside_says_nothing_of_itself(app):
    def fail():
        raise RuntimeError("the password is swordfish")

    app.view_functions["pages.consent"] = fail
    app.view_functions["api.state"] = fail
    for path, shape in (("/", "text/html"), ("/api/v1/state", "application/json")):
        reply = app.test_client().get(path, headers={"Accept": "text/html"})
        assert reply.status_code == 500
        assert reply.mimetype == shape
        assert "swordfish" not in reply.get_data(as_text=True)
        assert "Traceback" not in reply.get_data(as_text=True)


def test_a_browser_gets_a_page_where_a_program_gets_json(app):
    client = app.test_client()
    page = client.post("/withdraw", headers={"Accept": "text/html,*/*"})
    assert (page.status_code, page.mimetype) == (403, "text/html")
    assert client.post("/withdraw").get_json()["error"]["code"] == "origin"
    german = client.get("/nowhere", headers={"Accept": "text/html", "Accept-Language": "de"})
    assert "Unter dieser Adresse gibt es keine Seite." in german.get_data(as_text=True)


def test_every_test_that_the_page_on_security_names_is_there():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "security.md").read_text()))
    assert named
    known = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in [path.stem, *re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)]
    }
    assert named <= known
