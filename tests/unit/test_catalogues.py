"""The pages' texts: every language has all of them, with the same placeholders and the same markup."""

from __future__ import annotations

import re

import pytest

from study_app import catalogues, languages

PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%%|\{\w+\}")
TAG = re.compile(r"</?\w+")
TRANSLATED = [language for language in languages.NAMES if language != "en"]


def texts(message) -> list[tuple[str, str]]:
    """Each translation with the text that it translates; plural forms against the plural."""
    if isinstance(message.id, str):
        return [(message.id, message.string)]
    return list(zip(message.id, message.string, strict=True))


def messages(language):
    return [message for message in catalogues.read(language) if message.id]


def test_the_kept_template_holds_the_texts_of_templates_and_code():
    kept = (languages.CATALOGUES / "messages.pot").read_text()
    assert kept == catalogues.written(catalogues.extracted()), "run make translations"
    assert kept


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_text_is_translated(language):
    catalogue = catalogues.read(language)
    assert {message.id for message in catalogue} == {message.id for message in catalogues.extracted()}
    assert catalogues.missing(catalogue) == []


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_translation_has_the_placeholders_and_the_markup_of_its_text(language):
    for message in messages(language):
        for source, translation in texts(message):
            assert sorted(PLACEHOLDER.findall(translation)) == sorted(PLACEHOLDER.findall(source)), source
            assert sorted(TAG.findall(translation)) == sorted(TAG.findall(source)), source


def test_a_text_without_translation_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogues, "CATALOGUES", tmp_path)
    assert catalogues.update() == {"de": len([message for message in catalogues.extracted() if message.id])}
    assert catalogues.missing(catalogues.read("de"))


def test_updating_keeps_translations(tmp_path, monkeypatch):
    before = catalogues.path_of("de").read_text()
    monkeypatch.setattr(catalogues, "CATALOGUES", tmp_path)
    catalogues.path_of("de").parent.mkdir(parents=True)
    catalogues.path_of("de").write_text(before)
    catalogues.update()
    assert catalogues.path_of("de").read_text() == before
