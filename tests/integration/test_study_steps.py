"""The steps before the task over HTTP: in order, none skipped, decided on the server; ends and their codes."""

from __future__ import annotations

import io
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from PIL import Image
from sqlalchemy import func, select, update

from study_app import detection, retention
from study_app.models import CheckResult, Participant, Session
from study_app.participants import colour_plates, steps
from tests.study_recruitment import (
    ALL_STEPS,
    DEVICE,
    PROLIFIC,
    Person,
    digits,
    read_plates,
    recruiting,
    reregister,
    rows,
)

CODES = """complete_code = "DONE"
screened_out_code = "SCREENED"
timed_out_code = "TIMED-OUT"
return_url = "https://platform.example/?cc={code}"
"""


@pytest.fixture
def person(study, tmp_path):
    reregister(study, tmp_path, recruiting("open", CODES) + ALL_STEPS)
    someone = Person(study)
    someone.consent()
    return someone


def pass_steps(study, person, until: str | None = None) -> None:
    forms = {
        "about-you": {"normal_vision": "yes"},
        "device": DEVICE,
        "colour-vision": read_plates(study),
        "calibration": {"card_css_px": "323.5"},
    }
    for name, form in forms.items():
        if name == until:
            return
        assert person.step(name, **form).status_code == 303


def test_consent_leads_to_the_first_step_and_the_last_step_to_the_task(study, person):
    assert person.client.get("/").headers["Location"] == "/steps/about-you"
    assert person.step("about-you", normal_vision="yes").headers["Location"] == "/steps/device"
    assert person.step("device", **DEVICE).headers["Location"] == "/steps/colour-vision"
    assert person.step("colour-vision", **read_plates(study)).headers["Location"] == "/steps/calibration"
    assert person.step("calibration", card_css_px="323.5").headers["Location"] == "/study"
    assert person.client.get("/study").status_code == 200
    assert person.answer(0).status_code == 201


@pytest.mark.parametrize("step", ["device", "colour-vision", "calibration"])
def test_no_step_can_be_skipped(study, person, step):
    form = {**DEVICE, **read_plates(study), "card_css_px": "320"}
    assert person.client.get(f"/steps/{step}").headers["Location"] == "/steps/about-you"
    assert person.step(step, **form).headers["Location"] == "/steps/about-you"
    assert person.client.get("/study").headers["Location"] == "/steps/about-you"
    assert rows(study, select(func.count(CheckResult.id))) == [(0,)]


@pytest.mark.parametrize("until", steps.ORDER)
def test_the_task_is_refused_until_every_step_is_passed(study, person, until):
    pass_steps(study, person, until)
    replies = [
        person.client.get("/api/v1/state"),
        person.client.get("/api/v1/pictures/any"),
        person.answer(0),
        person.post_json("/api/v1/visits", {"client_uuid": str(uuid.uuid4()), "seen_index": None}),
        person.finish(),
    ]
    for reply in replies:
        assert reply.status_code == 403
        assert reply.get_json()["error"]["code"] == "step"
        assert f"expected the step {until} to be passed before the task; go to" in reply.get_json()["error"]["message"]
        assert reply.get_json()["error"]["next"] == f"/steps/{until}"


def test_a_step_is_answered_once(study, person):
    person.step("about-you", normal_vision="yes")
    assert person.step("about-you", normal_vision="no").headers["Location"] == "/steps/device"
    assert rows(study, select(CheckResult.name, CheckResult.passed)) == [("about-you", True)]


@pytest.mark.parametrize(
    ("step", "form"),
    [
        ("about-you", {}),
        ("about-you", {"normal_vision": "perhaps"}),
        ("device", {**DEVICE, "width": "wide"}),
        ("device", {**DEVICE, "height": "nan"}),
        ("device", {**DEVICE, "device_pixel_ratio": "-1"}),
        ("device", {**DEVICE, "input": "mind"}),
        ("device", {}),
        ("colour-vision", {"plate-0": "3"}),
        ("calibration", {}),
        ("calibration", {"card_css_px": "1e9"}),
        ("calibration", {"card_css_px": "320", "distance_cm": "far"}),
    ],
)
def test_a_form_that_is_not_filled_in_is_shown_again_and_decides_nothing(study, person, step, form):
    pass_steps(study, person, step)
    before = rows(study, select(func.count(CheckResult.id)))
    again = person.step(step, **form)
    assert again.status_code == 422
    assert "Please answer everything on this page" in again.get_data(as_text=True)
    assert rows(study, select(func.count(CheckResult.id))) == before


@pytest.mark.parametrize(
    ("step", "form"),
    [
        ("about-you", {"normal_vision": "no"}),
        ("device", {**DEVICE, "width": "599"}),
        ("device", {**DEVICE, "height": "599.5"}),
        ("device", {**DEVICE, "input": "touch"}),
        ("device", {"cannot": "yes"}),
    ],
)
def test_who_does_not_fit_is_screened_out_with_the_code_for_it_and_gives_the_place_back(study, person, step, form):
    pass_steps(study, person, step)
    assert person.step(step, **form).headers["Location"] == "/ended"
    page = person.client.get("/ended").get_data(as_text=True)
    assert "SCREENED" in page
    assert "https://platform.example/?cc=SCREENED" in page
    assert rows(study, select(Session.end_reason, Session.completion_code)) == [("screened-out", None)]
    assert rows(study, select(Participant.place)) == [(None,)]
    for path in ("/", "/study", "/finish", "/steps/about-you", f"/steps/{step}"):
        assert person.client.get(path).headers["Location"] == "/ended"
    assert person.step(step, **DEVICE, normal_vision="yes").headers["Location"] == "/ended"
    assert person.client.get("/api/v1/state").status_code == 403


def test_too_many_plates_missed_screens_out_and_one_does_not(study, tmp_path):
    reregister(study, tmp_path, "[eligibility]\ncolour_vision = true\n")
    for wrong, leads in ((1, "/study"), (2, "/ended")):
        someone = Person(study)
        someone.consent()
        assert someone.step("colour-vision", **read_plates(study, wrong)).headers["Location"] == leads
    assert sorted(rows(study, select(CheckResult.passed))) == [(False,), (True,)]


def test_plates_are_pictures_whose_address_and_page_say_nothing_of_the_digit(study, person):
    pass_steps(study, person, "colour-vision")
    page = person.client.get("/steps/colour-vision").get_data(as_text=True)
    shown = digits(study)
    plates = [person.client.get(f"/steps/colour-vision/plates/{index}") for index in range(len(shown))]
    for index, plate in enumerate(plates):
        assert f"/steps/colour-vision/plates/{index}" in page
        assert plate.headers["Content-Type"] == "image/png"
        assert Image.open(io.BytesIO(plate.data)).info == {}
    assert person.client.get(f"/steps/colour-vision/plates/{len(shown)}").status_code == 404
    other = Person(study)
    other.consent()
    pass_steps(study, other, "colour-vision")
    assert other.client.get("/steps/colour-vision/plates/0").data != plates[0].data


def test_plates_are_shown_at_their_step_alone(study, person):
    assert person.client.get("/steps/colour-vision/plates/0").status_code == 404
    assert Person(study).client.get("/steps/colour-vision/plates/0").status_code == 404


def test_what_the_steps_found_is_kept(study, person):
    shown = digits(study)
    pass_steps(study, person)
    kept = dict(rows(study, select(CheckResult.name, CheckResult.detail)))
    assert kept["about-you"] == {"normal_vision": True}
    assert kept["device"] == {"width": 1280.0, "height": 800.0, "device_pixel_ratio": 1.5, "input": "keyboard"}
    assert [plate["given"] for plate in kept["colour-vision"]["plates"]] == list(shown)
    assert [plate["kind"] for plate in kept["colour-vision"]["plates"]] == list(colour_plates.KINDS)
    assert kept["calibration"] == {"card_css_px": 323.5, "css_px_per_mm": 323.5 / 85.6, "distance_cm": None}


def test_the_card_can_be_left_out(study, person):
    pass_steps(study, person, "calibration")
    assert person.step("calibration", card_css_px="320", skip="yes").headers["Location"] == "/study"
    assert rows(study, select(CheckResult.detail).where(CheckResult.name == "calibration"))[0][0]["card_css_px"] is None


def test_an_unknown_step_is_no_page(person):
    assert person.client.get("/steps/nothing").status_code == 404
    assert person.step("nothing").status_code == 404


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("", ()),
        ("normal_vision = true", ("about-you",)),
        ("minimum_css_px = 1", ("device",)),
        ('input = "touch"', ("device",)),
        ("calibration = true\ncolour_vision = true", ("colour-vision", "calibration")),
    ],
)
def test_the_steps_that_a_protocol_needs(table, expected):
    assert steps.needed(detection.parse(f'name = "a"\n[eligibility]\n{table}', "test")) == expected


def test_the_end_shows_the_platforms_code_only_when_every_trial_is_held(study, tmp_path):
    reregister(study, tmp_path, recruiting("prolific", CODES))
    someone = Person(study)
    someone.open(PROLIFIC)
    someone.consent()
    for index in range(9):
        someone.answer(index)
    assert "DONE" not in someone.client.get("/finish", follow_redirects=True).get_data(as_text=True)
    assert someone.finish().status_code == 409
    someone.answer(9)
    assert someone.finish().get_json()["next"] == "/finish"
    page = someone.client.get("/finish").get_data(as_text=True)
    assert "DONE" in page
    assert 'href="https://platform.example/?cc=DONE"' in page


def test_the_way_back_to_sona_has_the_persons_id_and_is_gone_with_it(study, tmp_path):
    more = 'return_url = "https://school.example/credit?survey_code={id}"\n'
    reregister(study, tmp_path, recruiting("sona", more))
    someone = Person(study)
    someone.open("?survey_code=4711")
    someone.consent()
    someone.answer_all()
    someone.finish()
    assert "https://school.example/credit?survey_code=4711" in someone.client.get("/finish").get_data(as_text=True)
    with study.extensions["percepsilon_database"].writing() as writer:
        retention.forget(writer, datetime.now(UTC) + timedelta(days=31))
    page = someone.client.get("/finish").get_data(as_text=True)
    assert "school.example" not in page
    assert "You have finished" in page


def test_a_session_whose_time_is_over_shows_the_code_for_that(study, tmp_path):
    reregister(study, tmp_path, recruiting("open", CODES))
    someone = Person(study)
    someone.consent()
    with study.extensions["percepsilon_database"].writing() as writer:
        writer.execute(update(Session).values(ended_at=func.now(), end_reason="timed-out"))
    page = someone.client.get("/study", follow_redirects=True).get_data(as_text=True)
    assert "TIMED-OUT" in page
    assert "more than 72 hours ago" in page
    assert someone.finish().get_json()["error"]["code"] == "ended"
    assert someone.client.get("/api/v1/state").get_json()["error"]["code"] == "ended"
