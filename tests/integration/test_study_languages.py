"""The language of a page: the participant's, else the chosen one, else the browser's, of those on offer."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from study_app import languages
from study_app.models import Participant
from tests.study_recruitment import Person, reregister, rows

GERMAN, ENGLISH, FRENCH = ({"Accept-Language": text} for text in ("de-AT,de;q=0.9", "en-GB,en;q=0.9", "fr"))


def language(reply) -> str:
    text = reply.get_data(as_text=True)
    return text.split('<html lang="')[1][:2]


def test_a_browsers_language_is_used(study, new_visitor):
    client = new_visitor().client
    assert language(client.get("/", headers=GERMAN)) == "de"
    assert language(client.get("/", headers=ENGLISH)) == "en"


@pytest.mark.parametrize(("offered", "shown"), [('["en", "de"]', "en"), ('["de", "en"]', "de"), ('["de"]', "de")])
def test_who_wants_none_of_the_protocols_gets_its_first(study, tmp_path, offered, shown):
    reregister(study, tmp_path, "", top=f"languages = {offered}")
    assert language(Person(study).client.get("/", headers=FRENCH)) == shown
    assert language(Person(study).client.get("/")) == shown


def test_a_choice_is_remembered_and_goes_before_the_browsers(study):
    someone = Person(study)
    chosen = someone.client.get("/?lang=de")
    assert (chosen.status_code, chosen.headers["Location"]) == (303, "/")
    assert language(someone.client.get("/", headers=ENGLISH)) == "de"
    someone.client.get("/?lang=xx")
    assert language(someone.client.get("/", headers=ENGLISH)) == "de", "what is none of ours changes nothing"


def test_the_participants_language_stays_whatever_is_chosen_later(study):
    someone = Person(study)
    assert someone.send("/consent", consent="yes", language="de").status_code == 303
    assert rows(study, select(Participant.locale)) == [("de",)]
    someone.client.get("/?lang=en")
    assert language(someone.client.get("/study", headers=ENGLISH)) == "de"
    assert someone.state()["language"] == "de"


def test_a_language_that_is_not_offered_is_not_taken_from_the_form(study):
    someone = Person(study)
    someone.send("/consent", consent="yes", language="tlh")
    assert rows(study, select(Participant.locale)) == [("en",)]


def test_texts_come_from_the_catalogue_and_plurals_follow_the_language(study):
    german = languages.texts("de")
    assert german.ugettext("Thank you!") == "Vielen Dank!"
    assert german.ungettext("about %(num)s minute", "about %(num)s minutes", 1) == "etwa %(num)s Minute"
    assert german.ungettext("about %(num)s minute", "about %(num)s minutes", 5) == "etwa %(num)s Minuten"
    assert languages.texts("en").ugettext("Thank you!") == "Thank you!"


def test_a_title_and_a_contact_of_the_protocols_own_are_shown_as_they_are(study, tmp_path):
    page = Person(study).client.get("/", headers=GERMAN).get_data(as_text=True)
    assert "Sehen Sie die Veränderung?" in page
    assert "die Person, von der Sie diesen Link haben" in page
    reregister(study, tmp_path, "", top='title = "100 % <sure>"\ncontact = "Ada"')
    page = Person(study).client.get("/", headers=GERMAN).get_data(as_text=True)
    assert "100 % &lt;sure&gt;" in page
    assert "wenden Sie sich bitte an: Ada." in page
