"""What the measurement of the drawing page refuses, and how it reads a trace."""

from __future__ import annotations

import pytest

from benchmarks import annotation_latency
from core.errors import MachineError, StudyError


def test_the_main_threads_tasks_are_read_from_a_trace_in_milliseconds():
    thread = {"pid": 1, "tid": 2}
    events = [
        {**thread, "name": "thread_name", "args": {"name": "CrRendererMain"}},
        {**thread, "name": "RunTask", "dur": 2500},
        {**thread, "name": "Paint", "dur": 900},
        {"pid": 1, "tid": 3, "name": "RunTask", "dur": 7000},
    ]
    assert annotation_latency._main_thread_tasks(events) == [2.5]


def test_a_trace_without_tasks_is_refused():
    with pytest.raises(MachineError, match="expected a trace with tasks of the page's main thread, got none"):
        annotation_latency._main_thread_tasks([{"pid": 1, "tid": 2, "name": "RunTask", "dur": 1}])


def test_a_machine_without_chromium_is_told_what_to_set(monkeypatch, tmp_path):
    monkeypatch.delenv("PERCEPSILON_CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(MachineError, match="expected a Chromium, found none; set PERCEPSILON_CHROMIUM"),
        annotation_latency._chromium(),
    ):
        pass


def test_a_task_that_cannot_be_registered_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(annotation_latency, "TASK", 'name = ""')
    plan = annotation_latency.Plan(side=8)
    with (
        pytest.raises(StudyError, match="flask --app study_app register-annotation .*: .*expected a name for the task"),
        annotation_latency._site(tmp_path, plan),
    ):
        pass


def test_the_strokes_that_are_there_fit_the_picture():
    plan = annotation_latency.Plan(side=64, strokes=4)
    strokes = list(annotation_latency._strokes(plan))
    assert [each["tool"] for each in strokes] == ["brush", "brush", "erase", "brush"]
    assert all(0 <= value <= 64 for each in strokes for point in each["points"] for value in point[:2])
