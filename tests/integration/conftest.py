"""Real databases with a registered study, participants who use its HTTP interface, and the real server."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import pytest

from benchmarks.study_site import free_port
from tests import annotation_site
from tests.conftest import build_stimulus_set
from tests.study_site import SMALL_PROTOCOL, Server, Visitor, close, make_app, set_up


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    pgserver = pytest.importorskip("pgserver")
    server = pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="stop")
    server.psql("ALTER SYSTEM SET fsync = off;")  # no test cuts the power
    server.psql("SELECT pg_reload_conf();")
    yield server
    server.cleanup()


@pytest.fixture(scope="session")
def small_set(tmp_path_factory) -> Path:
    return build_stimulus_set(tmp_path_factory.mktemp("small") / "noise", sources=14, size=16)


@pytest.fixture(scope="session")
def small_protocol(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("protocol") / "small.toml"
    path.write_text(SMALL_PROTOCOL)
    return path


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory, small_set, small_protocol) -> Path:
    path = tmp_path_factory.mktemp("template") / "study.sqlite"
    set_up(f"sqlite:///{path}", small_set, small_protocol)
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres, small_set, small_protocol) -> str:
    set_up(new_postgres_database(postgres, "study_template"), small_set, small_protocol)
    return "study_template"


@pytest.fixture(scope="session")
def annotation_pictures(tmp_path_factory) -> Path:
    """A picture set of six pictures, with known regions of two of them beside it."""
    return annotation_site.make_pictures(tmp_path_factory.mktemp("annotation") / "noise")


@pytest.fixture(scope="session")
def annotation_sqlite(tmp_path_factory, annotation_pictures) -> Path:
    path = tmp_path_factory.mktemp("annotation-template") / "study.sqlite"
    annotation_site.set_up(f"sqlite:///{path}", annotation_pictures)
    return path


@pytest.fixture(scope="session")
def annotation_postgres(postgres, annotation_pictures) -> str:
    annotation_site.set_up(new_postgres_database(postgres, "annotation_template"), annotation_pictures)
    return "annotation_template"


@pytest.fixture(params=["sqlite", "postgresql"])
def annotation_url(request, tmp_path) -> str:
    """The URL of a database with a picture set, without a task."""
    if request.param == "sqlite":
        return copy_sqlite(request.getfixturevalue("annotation_sqlite"), tmp_path)
    server, template = request.getfixturevalue("postgres"), request.getfixturevalue("annotation_postgres")
    return new_postgres_database(server, f"annotation_{uuid.uuid4().hex}", template)


@pytest.fixture
def annotation_app(annotation_url):
    """The app on either database; a test registers the task that it needs."""
    app = make_app(annotation_url)
    yield app
    close(app)


@pytest.fixture
def annotation_sqlite_app(annotation_sqlite, tmp_path):
    """The same, on SQLite only."""
    app = make_app(copy_sqlite(annotation_sqlite, tmp_path))
    yield app
    close(app)


def new_postgres_database(server, name: str, template: str = "template1") -> str:
    server.psql(f"CREATE DATABASE {name} TEMPLATE {template};")
    return server.get_uri(database=name)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request, tmp_path) -> str:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.sqlite'}"
    return new_postgres_database(request.getfixturevalue("postgres"), f"empty_{uuid.uuid4().hex}")


@pytest.fixture(params=["sqlite", "postgresql"])
def study_url(request, tmp_path) -> str:
    """The URL of a database with the small set and the small protocol."""
    if request.param == "sqlite":
        return copy_sqlite(request.getfixturevalue("sqlite_template"), tmp_path)
    server, template = request.getfixturevalue("postgres"), request.getfixturevalue("postgres_template")
    return new_postgres_database(server, f"study_{uuid.uuid4().hex}", template)


@pytest.fixture
def sqlite_url(sqlite_template, tmp_path) -> str:
    """The same, on SQLite only: for what does not touch the database's kind."""
    return copy_sqlite(sqlite_template, tmp_path)


def copy_sqlite(template: Path, directory: Path) -> str:
    shutil.copy(template, directory / "study.sqlite")
    return f"sqlite:///{directory / 'study.sqlite'}"


@pytest.fixture
def study(study_url):
    app = make_app(study_url)
    yield app
    close(app)


@pytest.fixture
def visitor(study) -> Visitor:
    someone = Visitor(study)
    assert someone.consent().status_code == 303
    return someone


@pytest.fixture
def new_visitor(study):
    return lambda: Visitor(study)


@pytest.fixture
def make_server(tmp_path):
    servers = []

    def make(url: str) -> Server:
        server = Server(url, free_port(), tmp_path / "server.log")
        servers.append(server)
        return server.start()

    yield make
    for server in servers:
        server.kill()


@pytest.fixture
def site(sqlite_url, tmp_path):
    """The study on SQLite with an instance directory of its own, for the researchers' pages."""
    app = make_app(sqlite_url, tmp_path / "instance")
    yield app
    close(app)
