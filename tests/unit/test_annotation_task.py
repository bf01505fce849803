"""The annotation task's file: what it may say, and in which words it is refused."""

from __future__ import annotations

import pytest

from core.errors import ConfigError
from study_app.annotation import task
from study_app.settings import ROOT


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = 3", "task.toml: name"),
        ("name =", "task.toml: not valid TOML"),
        ('name = ""', "name: expected a name for the task, got an empty one"),
        ('name = "a"\nannotator_per_picture = 3', "did you mean 'annotators_per_picture'"),
        ('name = "a"\nannotators_per_picture = 0', "annotators_per_picture: expected at least 1, got 0"),
        ('name = "a"\npictures_per_annotator = 0', "pictures_per_annotator: expected at least 1, got 0"),
        ('name = "a"\nminutes = 0', "minutes: expected at least 1, got 0"),
        ('name = "a"\nminimum_seconds = -1', "minimum_seconds: expected at least 0, got -1"),
        ('name = "a"\nreservation_minutes = 0', "reservation_minutes: expected at least 1, got 0"),
        ('name = "a"\nlanguages = []', "languages: expected at least one, got none"),
        ('name = "a"\ntools = []', "tools: expected at least one, got none"),
        ('name = "a"\ntools = ["spray"]', "spray"),
        ('name = "a"\nskip_reasons = []', "skip_reasons: expected at least one, got none"),
        ('name = "a"\nskip_reasons = [""]', "skip_reasons: expected 1 to 100 letters each"),
        ('name = "a"\nbrush_sizes = [0.1]', "brush_sizes: expected at least 0.5 pixels"),
        ('name = "a"\n[practice]\npictures = -1', "practice.pictures: expected at least 0, got -1"),
        ('name = "a"\n[gold]\nshare = 1.5', "gold.share: expected a share from 0 to 1, got 1.5"),
        ('name = "a"\n[gold]\nminimum_iou = -1', "gold.minimum_iou: expected a share from 0 to 1"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_key(text, words):
    with pytest.raises(ConfigError) as refused:
        task.parse(text, "task.toml")
    assert words in str(refused.value)


def test_the_example_is_a_task_and_bytes_are_read_as_text():
    path = ROOT / "study_app" / "annotation" / "tasks" / "demo.toml"
    found = task.parse(path.read_bytes(), path.name)
    assert (found.name, found.annotators_per_picture, found.tools) == (
        "demo-regions", 3, ("brush", "erase", "polygon", "box"),
    )  # fmt: skip


def test_the_documentation_names_every_key():
    text = (ROOT / "docs" / "annotating.md").read_text(encoding="utf-8")
    for kind in (task.AnnotationTask, task.Practice, task.Gold):
        for name in kind.__dataclass_fields__:
            assert f"`{name}`" in text or f"[{name}]" in text, name
