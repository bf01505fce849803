"""Studies of several kinds of recruitment and steps, for the tests of what comes before and after the task."""

from __future__ import annotations

from pathlib import Path

from study_app import registration
from study_app.models import Session
from study_app.participants import colour_plates, steps
from tests.study_site import SMALL_PROTOCOL, Visitor

PROLIFIC = "?PROLIFIC_PID=person-1&STUDY_ID=study-1&SESSION_ID=visit-1"
ALL_STEPS = """
[eligibility]
normal_vision = true
minimum_css_px = 600
input = "keyboard"
colour_vision = true
calibration = true
"""
DEVICE = {"width": "1280", "height": "800", "device_pixel_ratio": "1.5", "input": "keyboard"}


def reregister(app, folder: Path, more: str, *, name: str = "another", top: str = "") -> None:
    """Makes a variant of the small protocol the current one: with more tables, and more keys at its top."""
    path = folder / f"{name}.toml"
    path.write_text(SMALL_PROTOCOL.replace('"small"', f'"{name}"\n{top}') + more)
    with app.extensions["percepsilon_database"].writing() as writer:
        registration.register_protocol(writer, path, "noise")


def recruiting(platform: str, more: str = "") -> str:
    return f'[recruitment]\nplatform = "{platform}"\n{more}'


class Person(Visitor):
    """A participant who goes through pages too."""

    def open(self, address: str = ""):
        """Opens the study's address, and follows it to the page that is shown."""
        return self.client.get(f"/{address}", follow_redirects=True)

    def send(self, path: str, **form: str):
        return self.client.post(path, data=form, headers=self.headers)

    def post_json(self, path: str, body: dict):
        return self.client.post(path, json=body, headers=self.headers)

    def step(self, name: str, **form: str):
        return self.send(f"/steps/{name}", **form)


def rows(app, query) -> list:
    with app.extensions["percepsilon_database"].reading() as reader:
        return list(reader.execute(query))


def digits(app) -> tuple[str, ...]:
    """The digits on the plates of the one session that there is."""
    with app.extensions["percepsilon_database"].reading() as reader:
        return colour_plates.digits(steps.plates_seed(reader.query(Session).order_by(Session.id.desc()).first()))


def read_plates(app, wrong: int = 0) -> dict[str, str]:
    """A form with the digits on all plates, the last ``wrong`` of them not seen."""
    shown = digits(app)
    return {f"plate-{index}": digit if index < len(shown) - wrong else "" for index, digit in enumerate(shown)}
