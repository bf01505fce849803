"""The export: its layout, who is in it and who is not, one moment in it, its memory."""

from __future__ import annotations

import csv
import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from itertools import count

import pandas as pd
import pyarrow.csv
import pyarrow.parquet
import pytest
from sqlalchemy import delete, select, update

from core.errors import ExportError, StimulusError, StudyError
from study_app import export
from study_app.export import columns, export_rows
from study_app.models import Arrival, CheckResult, Participant, PlannedTrial, Protocol, Response, Session, Visit
from study_app.settings import ROOT
from study_app.staff import Exclusion, Researcher
from tests import psych_ds
from tests.study_site import Visitor, close, make_answer, make_app, set_up

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PLANTED = ("5f1c0ffee0ddba11ca5e0001", "planted-study", "planted-session", "203.0.113.77", "Planted/5.0 (Browser)")


def write(app, directory, **options):
    with app.extensions["percepsilon_database"].reading() as reader:
        return export.export(reader, directory, **options)


def table(directory, name) -> pd.DataFrame:
    return pd.read_parquet(directory / "data" / f"table-{name}_data.parquet")


class People:
    """Participants by what became of them; each answered five trials or none."""

    def __init__(self, app) -> None:
        self.app, self.database, self.numbers = app, app.extensions["percepsilon_database"], count()

    def arrive(self, *, answers: int = 5) -> str:
        visitor = Visitor(self.app)
        query = f"/?PROLIFIC_PID={PLANTED[0]}{next(self.numbers)}&STUDY_ID={PLANTED[1]}&SESSION_ID={PLANTED[2]}"
        visitor.client.environ_base |= {"REMOTE_ADDR": PLANTED[3], "HTTP_USER_AGENT": PLANTED[4]}
        visitor.client.get(query)
        assert visitor.consent().status_code == 303
        for index in range(answers):
            assert visitor.post(make_answer(index)).status_code == 201
        public_id = visitor.state()["session_id"]
        with self.database.writing() as writer:
            person = self.find(writer, public_id)[1]
            known = writer.scalar(select(Arrival).where(Arrival.participant_id == person.id))
            if known is None:
                writer.add(arrival(person))
        return public_id

    @staticmethod
    def find(reader, public_id: str) -> tuple[Session, Participant]:
        session = reader.scalar(select(Session).where(Session.public_id == public_id))
        return session, session.participant

    def change(self, public_id: str, *, session: dict | None = None, participant: dict | None = None) -> None:
        with self.database.writing() as writer:
            for found, values in zip(self.find(writer, public_id), (session, participant), strict=True):
                for name, value in (values or {}).items():
                    setattr(found, name, value)

    def add(self, public_id: str, table, **values) -> None:
        with self.database.writing() as writer:
            session, _ = self.find(writer, public_id)
            writer.add(table(session_id=session.id, at=NOW, **values))

    def exclude(self, public_id: str, reason: str) -> None:
        with self.database.writing() as writer:
            _, person = self.find(writer, public_id)
            someone = Researcher(email="planted@example.org", password_hash="x", role="owner", made_at=NOW)
            writer.add(someone)
            writer.flush()
            writer.add(Exclusion(participant=person, reason=reason, note="planted note", by_id=someone.id, at=NOW))


def arrival(person: Participant) -> Arrival:
    return Arrival(
        protocol_id=person.protocol_id, token_sha256=f"arrival {person.id}", platform="prolific",
        platform_id=f"{PLANTED[0]}-{person.id}", platform_study=PLANTED[1], platform_session=PLANTED[2],
        participant_id=person.id, arrived_at=NOW,
    )  # fmt: skip


@pytest.fixture
def people(study) -> People:
    return People(study)


def test_the_layout_is_that_of_psych_ds(people, study, tmp_path):
    ours = people.arrive()
    people.add(ours, Visit, client_uuid="v", gap_s=3.5, seen_index=None)
    people.add(ours, CheckResult, name="device", passed=True, detail={"width": 1280, "height": 720})
    people.exclude(ours, "attention")
    counts = write(study, tmp_path / "export")
    assert counts == {"trials": 5, "participants": 1, "visits": 1, "checks": 1, "exclusions": 1}
    assert psych_ds.problems(tmp_path / "export") == []


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda data: (data / "table-trials_data.csv").rename(data / "trials.csv"), "not a name of keywords"),
        (lambda data: (data / "table-more_data.csv").write_text("new\n1\n"), "column new is not in variableMeasured"),
        (lambda data: (data / "table-visits_data.csv").write_text("gap_s\n1,2\n"), "rows of another length"),
        (lambda data: (data / "table-checks_data.csv").write_text("check,check\n"), "empty or repeated names"),
        (lambda data: (data / "table-checks_data.csv").unlink(), "variable passed is in no table"),
        (lambda data: (data.parent / "more.txt").touch(), "more.txt is neither known nor ignored"),
    ],
)
def test_the_validator_of_these_tests_objects_to_what_is_wrong(sqlite_url, tmp_path, spoil, problem):
    app = make_app(sqlite_url)
    People(app).arrive()
    write(app, tmp_path / "export")
    close(app)
    spoil(tmp_path / "export" / "data")
    assert any(problem in found for found in psych_ds.problems(tmp_path / "export"))


def test_a_column_of_two_tables_is_one_column():
    seen: dict[str, columns.Column] = {}
    for described in columns.TABLES.values():
        for column in described:
            assert seen.setdefault(column.name, column) == column


def test_the_contract_names_every_column_of_every_table_in_its_order():
    text = (ROOT / "docs" / "contracts.md").read_text(encoding="utf-8")
    kinds = {"trials": "Trial", "participants": "Participant", "visits": "Visit", "checks": "Check"}
    for name, described in columns.TABLES.items():
        listed = text.split(f"{kinds.get(name, 'Exclusion')} columns: ")[1].split("\n\n")[0].split(" columns: ")[0]
        found = re.findall(r"`([a-z_0-9]+)`", re.sub(r"\([^)]*\)", "", listed))
        assert found == [column.name for column in described], name


def test_csv_and_parquet_hold_the_same_rows(people, study, tmp_path):
    people.arrive()
    people.arrive(answers=3)
    write(study, tmp_path / "export")
    for name, described in columns.TABLES.items():
        packed = pyarrow.parquet.read_table(tmp_path / "export" / "data" / f"table-{name}_data.parquet")
        assert packed.schema.equals(columns.schema(described))
        options = pyarrow.csv.ConvertOptions(
            column_types=columns.schema(described), strings_can_be_null=True, quoted_strings_can_be_null=False
        )
        text = pyarrow.csv.read_csv(tmp_path / "export" / "data" / f"table-{name}_data.csv", convert_options=options)
        assert text.equals(packed)


def test_every_status_is_told_apart(people, study, tmp_path):
    expected = {people.arrive(answers=2): "started"}
    finished = people.arrive(answers=10)
    people.change(finished, session={"finished_at": NOW, "completion_code": "CODE"})
    silent = people.arrive(answers=1)
    people.change(silent, session={"last_seen_at": datetime.now(UTC) - timedelta(hours=25)})
    expected |= {finished: "finished", silent: "abandoned"}
    for reason in ("screened-out", "timed-out"):
        ended = people.arrive(answers=0)
        people.change(ended, session={"ended_at": NOW, "end_reason": reason}, participant={"place": None})
        expected[ended] = reason
    write(study, tmp_path / "export")
    found = table(tmp_path / "export", "participants")
    assert dict(zip(found.session_id, found.status, strict=True)) == expected
    with study.extensions["percepsilon_database"].reading() as reader:
        protocol = reader.scalar(select(Protocol))
        assert export_rows.statuses(reader, protocol) == dict.fromkeys(expected.values(), 1)
    without_place = set(found.status[found.place.isna()])
    assert {"screened-out", "timed-out"} <= without_place <= {"screened-out", "timed-out", "abandoned"}


def test_who_withdrew_is_a_row_without_data_and_a_preview_is_nothing(people, study, tmp_path):
    stayed, gone, preview = people.arrive(), people.arrive(), people.arrive()
    for each in (stayed, gone, preview):
        people.add(each, Visit, client_uuid=f"v-{each}", gap_s=3.5, seen_index=None)
        people.add(each, CheckResult, name="device", passed=True, detail={})
    people.change(gone, session={"ended_at": NOW, "end_reason": "withdrawn"}, participant={"withdrawn_at": NOW})
    people.change(preview, participant={"preview": True, "place": None})
    people.exclude(gone, "attention")
    counts = write(study, tmp_path / "export")
    assert counts == {"trials": 5, "participants": 2, "visits": 1, "checks": 1, "exclusions": 0}
    rows = table(tmp_path / "export", "participants").set_index("session_id")
    known = {"participant_id", "protocol_hash", "status"}
    assert {name for name, value in rows.loc[gone].items() if not pd.isna(value)} == known
    for name in ("trials", "visits", "checks"):
        assert set(table(tmp_path / "export", name).session_id) == {stayed}
    assert preview not in b"".join(contents(tmp_path / "export")).decode(errors="replace")
    audit = [json.loads(line) for line in (tmp_path / "export" / "audit.jsonl").read_text().splitlines()]
    assert {line["session_id"] for line in audit} == {stayed}


def test_what_was_deleted_is_not_counted(people, study, tmp_path):
    gone = people.arrive()
    with people.database.writing() as writer:
        session, _ = people.find(writer, gone)
        writer.execute(delete(Response).where(Response.session_id == session.id))
        writer.execute(delete(PlannedTrial).where(PlannedTrial.session_id == session.id))
    people.change(gone, session={"ended_at": NOW, "end_reason": "withdrawn"}, participant={"withdrawn_at": NOW})
    assert write(study, tmp_path / "export")["trials"] == 0
    assert table(tmp_path / "export", "participants").status.tolist() == ["withdrawn"]
    assert psych_ds.problems(tmp_path / "export") == []


def contents(directory):
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            packed = path.suffix == ".parquet"
            yield pyarrow.parquet.read_table(path).to_pandas().to_csv().encode() if packed else path.read_bytes()


def test_no_platform_id_address_browser_name_or_note_is_in_any_file(people, study, tmp_path):
    person = people.arrive()
    people.exclude(person, "attention")
    write(study, tmp_path / "export")
    written = list(contents(tmp_path / "export"))
    with people.database.reading() as reader:
        session, _ = people.find(reader, person)
        secret = (session.token_sha256, *reader.scalars(select(PlannedTrial.token)))
    for planted in (*PLANTED, "planted note", "planted@example.org", str(ROOT), *secret):
        assert not any(planted.encode() in data for data in written), planted
    assert any(person.encode() in data for data in written)


def test_exclusions_are_beside_the_data_that_stay(people, study, tmp_path):
    left_out, kept = people.arrive(), people.arrive()
    people.exclude(left_out, "attention")
    write(study, tmp_path / "export")
    person = table(tmp_path / "export", "participants").set_index("session_id")
    assert person.excluded.fillna("").to_dict() == {left_out: "attention", kept: ""}
    excluded = table(tmp_path / "export", "exclusions")
    assert excluded[["participant_id", "reason"]].to_numpy().tolist() == [
        [person.participant_id[left_out], "attention"]
    ]
    assert len(table(tmp_path / "export", "trials")) == 10


def test_counts_of_a_participant_are_those_of_the_other_tables(people, study, tmp_path):
    ours = people.arrive(answers=8)
    people.add(ours, Visit, client_uuid="v1", gap_s=3.5, seen_index=None)
    people.add(ours, Visit, client_uuid="v2", gap_s=1800.0, seen_index=4)
    people.add(ours, CheckResult, name="device", passed=True, detail={"width": 1280, "height": 720})
    people.add(ours, CheckResult, name="calibration", passed=True, detail={"css_px_per_mm": 5.0, "distance_cm": 60})
    with people.database.writing() as writer:
        session, _ = people.find(writer, ours)
        mine = PlannedTrial.session_id == session.id
        writer.execute(update(PlannedTrial).where(mine, PlannedTrial.trial_index == 3).values(phase="warm-up"))
        writer.execute(update(PlannedTrial).where(mine, PlannedTrial.trial_index == 4).values(catch="gross"))
        writer.execute(
            update(PlannedTrial)
            .where(mine, PlannedTrial.trial_index == 5)
            .values(catch="instructed", instructed="no", signal=False)
        )
        writer.execute(update(Response).where(Response.trial_index == 5).values(correct=False))
        writer.execute(update(PlannedTrial).where(mine, PlannedTrial.trial_index == 9).values(aborted_at=NOW))
    write(study, tmp_path / "export")
    row = table(tmp_path / "export", "participants").iloc[0]
    trials = table(tmp_path / "export", "trials")
    gross = trials[trials["catch"] == "gross"].iloc[0]
    assert row[
        ["practice_trials", "warm_up_trials", "main_trials", "aborted_trials", "visits", "checks_passed"]
    ].tolist() == [2, 1, 5, 1, 2, 2]
    assert (row.gross_trials, row.gross_correct) == (1, int(gross.correct))
    assert (row.instructed_trials, row.instructed_correct) == (1, 0)
    assert (row.longest_gap_s, row.window_width, row.window_height, row.distance_cm) == (1800.0, 1280.0, 720.0, 60.0)
    assert row.css_px_per_mm == 5.0
    assert trials.position.tolist() == list(range(8))
    checks = table(tmp_path / "export", "checks")
    assert json.loads(checks.detail[1]) == {"css_px_per_mm": 5.0, "distance_cm": 60}


def test_trials_come_in_the_order_of_showing_and_are_numbered_in_it(people, study, tmp_path):
    ours = people.arrive(answers=6)
    with people.database.writing() as writer:
        session, _ = people.find(writer, ours)
        places = {trial.trial_index: trial.position for trial in session.trials}
        moved = PlannedTrial.session_id == session.id, PlannedTrial.trial_index == 5
        writer.execute(update(PlannedTrial).where(*moved).values(position=(places[1] + places[2]) // 2))
    write(study, tmp_path / "export")
    trials = table(tmp_path / "export", "trials")
    assert trials.trial_index.tolist() == [0, 1, 5, 2, 3, 4]
    assert trials.position.tolist() == [0, 1, 2, 3, 4, 5]


def test_pictures_in_pairs_are_both_named_and_an_answer_that_cannot_be_right_has_no_truth(people, study, tmp_path):
    ours = people.arrive(answers=2)
    with people.database.writing() as writer:
        session, _ = people.find(writer, ours)
        protocol = writer.scalar(select(Protocol))
        protocol.source += "\n[pause]\nwarm_up_trials = 1\n"
        protocol.source = 'task = "2afc"\n' + protocol.source
        first = writer.scalar(
            select(PlannedTrial).where(PlannedTrial.session_id == session.id, PlannedTrial.trial_index == 0)
        )
        first.pair_stimulus_id, first.pair_token, first.target_side = first.stimulus_id, "pair", "right"
        writer.execute(update(Response).where(Response.trial_index == 0).values(response="left", correct=None))
        shown = first.stimulus.stimulus_id
    write(study, tmp_path / "export")
    with (tmp_path / "export" / "data" / "table-trials_data.csv").open(newline="") as file:
        first = next(csv.DictReader(file))
    assert (first["task"], first["pair"], first["target_side"]) == ("2afc", shown, "right")
    assert (first["correct"], first["yes_side"], first["confidence"]) == ("", "", "")


def test_progress_ends_at_the_number_of_rows(people, study, tmp_path):
    people.arrive(answers=4)
    told = []
    counts = write(study, tmp_path / "export", progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (sum(counts.values()), sum(counts.values()))
    assert [done for done, _ in told] == sorted({done for done, _ in told})


def test_what_is_answered_during_an_export_is_in_none_of_its_tables(people, study, tmp_path):
    people.arrive(answers=3)
    during = []

    def arrive_once(_done, _total):
        if not during:
            during.append(people.arrive(answers=2))

    counts = write(study, tmp_path / "export", progress=arrive_once)
    assert counts["trials"] == 3
    assert counts["participants"] == 1
    assert during[0].encode() not in b"".join(contents(tmp_path / "export"))
    assert write(study, tmp_path / "after")["participants"] == 2


def test_an_export_that_fails_leaves_nothing(people, study, tmp_path):
    people.arrive()

    def fail(_done, _total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(study, tmp_path / "out" / "export", progress=fail)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_export_never_writes_over_anything(study, tmp_path):
    with pytest.raises(ExportError, match="expected no such directory, found one; name another, or move it away"):
        write(study, tmp_path)


def test_without_a_protocol_there_is_nothing_to_export(empty_url, tmp_path):
    app = make_app(empty_url)
    app.test_cli_runner().invoke(args=["init-db"])
    with pytest.raises(StudyError, match="no protocol is registered, so there is nothing to export"):
        write(app, tmp_path / "export")
    close(app)


def test_another_stimulus_set_in_the_place_of_the_registered_one_is_refused(
    sqlite_url, small_set, stimulus_set, small_protocol, tmp_path
):
    moved = shutil.copytree(small_set, tmp_path / "noise")
    url = f"sqlite:///{tmp_path / 'study.sqlite'}"
    set_up(url, moved, small_protocol)
    for name in ("set.json", "manifest.jsonl"):
        shutil.copy(stimulus_set / name, moved / name)
    app = make_app(url)
    with pytest.raises(StimulusError, match=r"expected the stimulus set that was registered \(manifest .*put the"):
        write(app, tmp_path / "export")
    close(app)
