"""The languages of the pages: English is in the source, the others are in ``translations/<language>/LC_MESSAGES``.

The catalogue is read from its ``.po`` file when a process first needs it, so that there is no compiled file to forget.
``make translations`` brings the catalogues up to date with templates and code; an untranslated text fails a test.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations
from flask import Flask, g, request
from flask_babel import Babel, Domain, get_locale, gettext, refresh
from werkzeug.wrappers import Response as AnyResponse

from study_app.detection import DetectionProtocol
from study_app.settings import ROOT

NAMES = {"en": "English", "de": "Deutsch"}  # each in its own language
CATALOGUES = ROOT / "study_app" / "translations"
COOKIE = "percepsilon_language"
COOKIE_DAYS = 365


class Catalogues(Domain):
    """The texts of every language, out of the ``.po`` files."""

    def get_translations(self) -> NullTranslations:
        """Returns the texts in the language of the request."""
        locale = get_locale()
        return texts(locale.language if locale else "en")


@cache
def texts(language: str) -> NullTranslations:
    """Returns the texts of a language; those of the source where there is no catalogue."""
    path = CATALOGUES / language / "LC_MESSAGES" / "messages.po"
    if not path.is_file():
        return NullTranslations()
    compiled = io.BytesIO()
    with path.open("rb") as file:
        write_mo(compiled, read_po(file, locale=language))
    compiled.seek(0)
    return Translations(compiled)


def register(app: Flask) -> None:
    """Gives the app's templates ``_()``, ``ngettext()``, ``{% trans %}`` and ``language()``."""
    babel = Babel()
    babel.domain_instance = Catalogues()  # type: ignore[no-untyped-call]
    app.jinja_env.policies["ext.i18n.trimmed"] = True
    babel.init_app(app, locale_selector=current)
    app.jinja_env.globals.update(
        language=current, languages=offered, language_names=NAMES, title_of=title, contact_of=contact
    )


def offer(languages: Sequence[str], chosen: str | None = None) -> None:
    """Sets the languages of this request: those of the protocol, and the one that the participant began in."""
    g.languages, g.language = tuple(languages), chosen
    refresh()


def offered() -> tuple[str, ...]:
    """Returns the languages that this request can be answered in, the default first."""
    languages: tuple[str, ...] = g.get("languages", tuple(NAMES))
    return languages


def current() -> str:
    """Returns this request's language: the participant's, else the cookie's, else the browser's, else the first."""
    languages = offered()
    for wanted in (g.get("language"), request.cookies.get(COOKIE), request.accept_languages.best_match(languages)):
        if wanted in languages:
            return str(wanted)
    return languages[0]


def remember(response: AnyResponse, language: str) -> None:
    """Keeps a choice of language in the browser; anything but one of ours is passed over."""
    if language in NAMES:
        response.set_cookie(
            COOKIE, language, max_age=COOKIE_DAYS * 86_400, samesite="Lax", secure=request.is_secure, httponly=True
        )


def title(protocol: DetectionProtocol) -> str:
    """Returns a protocol's title; the one that it has by default in the language of the request."""
    return protocol.title if protocol.title != DetectionProtocol.title else gettext("Can you see the change?")


def contact(protocol: DetectionProtocol) -> str:
    """Returns whom to ask; the one that a protocol names by default in the language of the request."""
    default = DetectionProtocol.contact
    return protocol.contact if protocol.contact != default else gettext("the person who gave you this link")
