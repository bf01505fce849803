"""``docs/protocol.md`` names every key of a protocol, with its default, and no other; its examples are protocols."""

from __future__ import annotations

import dataclasses
import re
import tomllib

import pytest

from study_app import detection
from study_app.detection import DetectionProtocol
from study_app.settings import ROOT

PAGE = (ROOT / "docs" / "protocol.md").read_text()
ROW = re.compile(r"^\| `([a-z_.]+)` \| (.+?) \| ", re.MULTILINE)
TASKS = ("yes-no", "2afc", "same-different")


def keys(settings, prefix="") -> dict[str, object]:
    found = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        found |= keys(value, f"{field.name}.") if dataclasses.is_dataclass(value) else {prefix + field.name: value}
    return found


def documented() -> dict[str, object]:
    shown = {key: default.strip("`") for key, default in ROW.findall(PAGE)}
    return {key: tomllib.loads(f"value = {text}")["value"] for key, text in shown.items() if text != "–"}


def test_every_key_is_documented_with_its_default_and_no_other():
    defaults = keys(DetectionProtocol(name="x"))
    del defaults["name"]
    assert documented() == {key: list(value) if isinstance(value, tuple) else value for key, value in defaults.items()}


def test_there_is_an_example_of_each_task():
    examples = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert [detection.parse(example, "docs/protocol.md").task for example in examples] == list(TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_there_is_an_example_file_of_each_task(task):
    files = (ROOT / "study_app" / "protocols").glob("*.toml")
    assert task in {detection.parse(path.read_bytes(), path.name).task for path in files}
