"""The folder of the workers' counts is removed with its server: by itself, or by the next one after a kill."""

from __future__ import annotations

import os
import tempfile

import pytest

from study_app import shared_counts


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def opened(monkeypatch):
    """The descriptors of folders that are made; closing one is what the system does when its server dies."""
    descriptors, kept = [], os.set_inheritable
    monkeypatch.setattr(os, "set_inheritable", lambda which, on: (descriptors.append(which), kept(which, on)))
    yield descriptors
    for descriptor in descriptors:
        os.close(descriptor)


def test_a_folder_stays_as_long_as_its_server_lives_and_no_longer(temporary, opened):
    first, second = shared_counts.make_folder(), shared_counts.make_folder()
    assert set(temporary.iterdir()) == {first, second}
    os.close(opened.pop(0))
    third = shared_counts.make_folder()
    assert set(temporary.iterdir()) == {second, third}
    assert all(os.get_inheritable(descriptor) for descriptor in opened)


def test_a_folder_that_was_taken_for_an_orphan_before_it_was_held_is_made_again(temporary, opened, monkeypatch):
    lock, raced = shared_counts.fcntl.flock, []

    def late(descriptor, operation):
        if not raced:
            raced.extend(temporary.iterdir())
            shared_counts.remove_folder(raced[0])
        lock(descriptor, operation)

    monkeypatch.setattr(shared_counts.fcntl, "flock", late)
    folder = shared_counts.make_folder()
    opened.pop(0)  # of the first one: closed
    assert list(temporary.iterdir()) == [folder]
    assert raced != [folder]


def test_what_is_not_ours_stays(temporary, opened):
    (temporary / "elsewhere").mkdir()
    (temporary / f"{shared_counts.PREFIX}link").symlink_to(temporary / "elsewhere")
    (temporary / f"{shared_counts.PREFIX}file").touch()
    shared_counts.make_folder()
    shared_counts.remove_folder(temporary / "elsewhere")
    assert len(list(temporary.iterdir())) == 4
