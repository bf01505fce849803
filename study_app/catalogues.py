"""Brings the catalogues up to date with the texts in templates and code: ``python -m study_app.catalogues``.

``messages.pot`` holds every text of the participants' pages; ``<language>/LC_MESSAGES/messages.po`` what it is in that
language. A text that is new gets an empty translation, which a test refuses; one that is gone is dropped.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from core.errors import DONE, exit_code
from study_app.languages import CATALOGUES, NAMES
from study_app.settings import ROOT

METHODS = [
    ("study_app/*.py", "python"),
    ("study_app/annotation/*.py", "python"),
    ("templates/study/**.html", "jinja2"),
    ("templates/annotate/**.html", "jinja2"),
]
OPTIONS = {"templates/study/**.html": {"trimmed": "true"}, "templates/annotate/**.html": {"trimmed": "true"}}
SEARCHED = (
    "study_app", "study_app/annotation", "templates", "templates/annotate", "templates/study", "templates/study/steps",
)  # fmt: skip
HEADER = """# {language} texts of the participants' pages.
msgid ""
msgstr ""
"Language: {code}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Plural-Forms: {plural}\\n"

"""


def extracted() -> Catalog:
    """Returns every text of the participants' pages."""
    catalogue = Catalog()
    found = extract_from_dir(str(ROOT), METHODS, OPTIONS, directory_filter=_is_searched)
    for _, _, message, comments, context in found:
        catalogue.add(message, auto_comments=comments, context=context)
    return catalogue


def path_of(language: str) -> Path:
    """Returns where the texts of a language are kept."""
    return CATALOGUES / language / "LC_MESSAGES" / "messages.po"


def read(language: str) -> Catalog:
    """Returns the catalogue of a language as it is kept; an empty one if there is none."""
    if not path_of(language).is_file():
        return Catalog(locale=language)
    with path_of(language).open("rb") as file:
        return read_po(file, locale=language)


def written(catalogue: Catalog) -> str:
    """Returns a catalogue as it stands in its file, without a header."""
    buffer = io.BytesIO()
    write_po(buffer, catalogue, width=120, sort_output=True, omit_header=True, ignore_obsolete=True, no_location=True)
    return buffer.getvalue().decode()


def update() -> dict[str, int]:
    """Writes all catalogues anew, keeping translations; returns how many texts each language lacks."""
    template = extracted()
    (CATALOGUES / "messages.pot").write_text(written(template), encoding="utf-8")
    return {language: _update(language, template) for language in NAMES if language != "en"}


def missing(catalogue: Catalog) -> list[str]:
    """Returns the texts that a catalogue does not translate."""
    return [str(message.id) for message in catalogue if message.id and not all(_strings(message.string))]


def _update(language: str, template: Catalog) -> int:
    catalogue = read(language)
    catalogue.update(template, no_fuzzy_matching=True)
    header = HEADER.format(language=NAMES[language], code=language, plural=catalogue.plural_forms)
    path_of(language).parent.mkdir(parents=True, exist_ok=True)
    path_of(language).write_text(header + written(catalogue), encoding="utf-8")
    return len(missing(catalogue))


def _strings(text: object) -> tuple[str, ...]:
    return tuple(text) if isinstance(text, tuple | list) else (str(text or ""),)


def _is_searched(directory: str) -> bool:
    return Path(directory).relative_to(ROOT).as_posix() in SEARCHED


def main(_argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
    for language, lacking in update().items():
        click.echo(f"{path_of(language).relative_to(ROOT)}: {lacking} texts to translate")
    return DONE


if __name__ == "__main__":
    sys.exit(exit_code(main))
