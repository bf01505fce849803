"""The researcher's commands: what they do, what they refuse, and in which words."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys

import pytest
from sqlalchemy import func, select

from study_app.models import Protocol, StimulusRow, StimulusSet
from study_app.settings import ROOT, from_environment
from tests.study_site import SMALL_PROTOCOL, Visitor, close, make_app

COMMANDS = {
    "annotation-close": [],
    "annotation-pause": [],
    "annotation-reopen": [],
    "annotation-resume": [],
    "annotation-status": [],
    "audit": [],
    "backup": [],
    "export": [],
    "export-annotations": [],
    "init-db": [],
    "links": ["label", "days", "address"],
    "protocol": [],
    "register-annotation": ["pictures", "gold"],
    "register-pictures": [],
    "register-protocol": ["set_name"],
    "register-set": [],
    "researcher": [],
    "retention": [],
    "serve": ["host", "port", "workers", "threads"],
    "status": [],
}


@pytest.fixture
def run(study_url):
    app = make_app(study_url)
    yield lambda *arguments: app.test_cli_runner().invoke(args=[str(argument) for argument in arguments])
    close(app)


@pytest.fixture
def empty_run(tmp_path):
    app = make_app(f"sqlite:///{tmp_path / 'new' / 'study.sqlite'}")
    yield lambda *arguments: app.test_cli_runner().invoke(args=[str(argument) for argument in arguments])
    close(app)


def count(url_app, table):
    with url_app.extensions["percepsilon_database"].reading() as reader:
        return reader.scalar(select(func.count()).select_from(table))


def test_the_command_line_is_this_one(study_url):
    app = make_app(study_url)
    found = {name: [option.name for option in command.params if option.param_type_name == "option"]
             for name, command in app.cli.commands.items()}  # fmt: skip
    assert found == COMMANDS
    assert all(command.help for command in app.cli.commands.values())


def test_registering_twice_changes_nothing(study_url, small_set, small_protocol):
    app = make_app(study_url)
    run = app.test_cli_runner()
    before = {table: count(app, table) for table in (StimulusSet, StimulusRow, Protocol)}
    again = run.invoke(args=["register-set", str(small_set)])
    assert "registered already" in again.output
    again = run.invoke(args=["register-protocol", str(small_protocol), "--set", "noise"])
    assert "registered already" in again.output
    assert {table: count(app, table) for table in before} == before
    close(app)


def test_a_protocol_may_change_until_its_first_participant_and_not_after(study, small_set, tmp_path):
    changed = tmp_path / "changed.toml"
    changed.write_text(SMALL_PROTOCOL + "\n[display]\ntarget_css_px = 200\n")
    command = ["register-protocol", str(changed), "--set", "noise"]
    assert study.test_cli_runner().invoke(args=command).exit_code == 0
    Visitor(study).consent()
    assert "registered already" in study.test_cli_runner().invoke(args=command).output
    changed.write_text(SMALL_PROTOCOL)
    refused = study.test_cli_runner().invoke(args=command)
    assert refused.exit_code == 1
    assert "was frozen on" in refused.output
    assert "give the changed file another name" in refused.output


def test_a_set_with_one_changed_pixel_is_refused_and_nothing_is_written(empty_run, small_set, tmp_path):
    shutil.copytree(small_set, tmp_path / "noise")
    picture = next((tmp_path / "noise" / "png").rglob("*.png"))
    data = bytearray(picture.read_bytes())
    data[100] ^= 1
    picture.write_bytes(data)
    assert empty_run("init-db").exit_code == 0
    refused = empty_run("register-set", tmp_path / "noise")
    assert refused.exit_code == 1
    assert f"{picture}: expected SHA-256" in refused.output
    assert "make the set again with python -m core.stimuli" in refused.output
    assert "registered" not in empty_run("register-protocol", tmp_path / "none.toml", "--set", "noise").output


def test_a_set_whose_manifest_was_changed_is_refused(run, small_set, tmp_path):
    shutil.copytree(small_set, tmp_path / "noise")
    manifest = tmp_path / "noise" / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace('"eps_asked": 8', '"eps_asked": 4', 1))
    refused = run("register-set", tmp_path / "noise")
    assert refused.exit_code == 1
    assert "the manifest was changed after the set was made" in refused.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "x"\nepss = [1]\n', "bad.toml: unknown key 'epss'; did you mean 'eps'?"),
        ('name = "x"\n[main]\ntrials = 7\n', "expected a multiple of 2"),
        ('name = "x"\n[main]\nsignal_share = 1.5\n', "expected a number above 0 and at most 1"),
        ('name = "x"\n[main]\ntrials = 400\n', "expected at least 408"),
        ('name = "x"\nruns = ["nobody"]\n', "protocol: runs: expected some of"),
        ('name = "x"\neps = [3]\n', "protocol: eps: expected some of [1, 2, 4, 8, 16, 32]"),
        ('name = "x"\nattack = "pgd-9"\n', "protocol: attack: expected one of ['noise'] (the stimulus set has these)"),
        ('name = "x"\neps = [0, 1]\n', "expected levels of at least 1"),
        (
            'name = "x"\ntask = "yes"\n',
            "expected one of 'yes-no', '2afc', 'same-different', got 'yes'; did you mean 'yes-no'?",
        ),
        ('name = ""\n', "expected a name for the protocol"),
        ("name =\n", "not valid TOML"),
    ],
)
def test_a_protocol_that_cannot_be_used_is_refused(run, tmp_path, text, message):
    (tmp_path / "bad.toml").write_text(text)
    refused = run("register-protocol", tmp_path / "bad.toml", "--set", "noise")
    assert refused.exit_code == 1
    assert message in refused.output
    assert "Traceback" not in refused.output


def test_a_protocol_on_an_unknown_set_is_refused(run, small_protocol):
    refused = run("register-protocol", small_protocol, "--set", "none")
    assert refused.exit_code == 1
    assert "register it with: flask --app study_app register-set DIR" in refused.output


def test_exporting_over_something_is_refused(run, tmp_path):
    (tmp_path / "export").mkdir()
    refused = run("export", tmp_path / "export")
    assert refused.exit_code == 1
    assert "expected no such directory" in refused.output
    assert list((tmp_path / "export").iterdir()) == []


def test_every_command_that_needs_a_database_says_how_to_make_one(empty_run, small_set, tmp_path):
    for command in (["status"], ["export", tmp_path / "export"], ["serve"], ["register-set", small_set]):
        refused = empty_run(*command)
        assert refused.exit_code == 1
        assert "make it with: flask --app study_app init-db" in refused.output


def test_serving_without_a_protocol_is_refused(empty_run):
    empty_run("init-db")
    assert "no protocol is registered" in empty_run("serve").output


def test_a_page_without_a_study_says_so(tmp_path):
    app = make_app(f"sqlite:///{tmp_path / 'study.sqlite'}")
    app.test_cli_runner().invoke(args=["init-db"])
    page = app.test_client().get("/")
    close(app)
    assert page.status_code == 503
    assert "No study is open" in page.get_data(as_text=True)


def flask(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "study_app", *map(str, arguments)], cwd=ROOT, capture_output=True,
        text=True, timeout=300, check=False, env={**os.environ, **environment},
    )  # fmt: skip


def test_a_port_in_use_is_one_message(sqlite_url):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = flask("serve", "--port", port, DATABASE_URL=sqlite_url)
    assert refused.returncode == 1
    assert refused.stderr == (
        f"Error: cannot listen on 127.0.0.1:{port}: another program uses it; "
        "stop that program or choose another with --port\n"
    )


@pytest.mark.parametrize("url", ["nonsense", "postgresql://nobody@127.0.0.1:1/none", "sqlite:////proc/none/x.sqlite"])
def test_a_database_that_cannot_be_used_is_one_message(url):
    refused = flask("init-db", DATABASE_URL=url)
    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: DATABASE_URL: ")
    assert "Traceback" not in refused.stderr


def test_without_a_variable_the_database_is_in_the_instance_directory():
    assert from_environment({}).database_url == f"sqlite:///{ROOT / 'instance' / 'percepsilon.sqlite'}"


def test_the_server_imports_with_torch_blocked():
    blocked = (
        "import sys; sys.modules['torch'] = sys.modules['torchvision'] = None; import study_app, study_app.simulate"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{blocked}; study_app.create_app()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_lock_file_names_no_registry():
    lock = json.loads((ROOT / "study_app" / "frontend" / "package-lock.json").read_text())
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]
