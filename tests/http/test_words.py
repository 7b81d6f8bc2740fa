"""The words of the pages: every language has each sentence, with the same values in it, and pages ask for none that is missing."""

import re
import string
from pathlib import Path

import pytest

from blueprints._text import LANGUAGES
from cozyd.auth.links import Maker, Wanted
from cozyd.permissions import Principal, parse_scope
from tests.support.identity import Home, homes

ROOT = Path(__file__).parent.parent.parent
ENGLISH = LANGUAGES["en"]
SOURCES = [*(ROOT / "static" / "pages").glob("*.html"), *(ROOT / "blueprints").glob("*.py")]


def values(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


@pytest.mark.parametrize("language", ["fr", "de", "es"])
def test_no_language_lacks_a_sentence_or_a_value(language: str):
    words = LANGUAGES[language]
    assert set(words) == set(ENGLISH)
    assert {name for name, sentence in words.items() if values(sentence) != values(ENGLISH[name])} == set()
    assert [name for name, sentence in words.items() if not sentence.strip()] == []


@pytest.mark.parametrize("language", ["fr", "de", "es"])
def test_sentences_are_translated(language: str):
    """Long ones that are the same in both languages were forgotten."""
    assert [name for name, sentence in LANGUAGES[language].items() if sentence == ENGLISH[name] and len(sentence.split()) > 4] == []


def test_pages_ask_for_no_sentence_that_is_missing():
    asked = set()
    for path in SOURCES:
        asked |= set(re.findall(r"""(?:\bt|words(?:\(\))?)\(\s*['"]([a-z_]+\.[\w.]+)['"][,)]""", path.read_text()))
    assert len(asked) > 100
    assert asked - set(ENGLISH) == set()


def test_every_kind_of_event_has_its_words():
    from cozyd.auth.trail import KINDS

    assert {f"event.{kind}" for kind in KINDS} == {name for name in ENGLISH if name.startswith("event.")}


def test_who_prefers_no_language_is_told_in_the_owner_s(tmp_path: Path):
    with homes(tmp_path) as (stack, _):
        home = Home(stack, "zoe")
        home.instance.amend(locale="fr")
        browser = home.browser()
        assert browser.enter("wrong").json["error"].startswith("Les identifiants")
        assert 'lang="fr"' in browser.get("/auth/login").body.decode()
        assert 'lang="de"' in browser.get("/auth/login", Accept_Language="it, de;q=0.5").body.decode()
        maker = Maker(Principal("cli", "", parse_scope("io.cozy.files")), "")
        wanted = Wanted({"permissions": {"a": {"type": "io.cozy.files"}}, "password": "secret"}, names=("a",))
        link = home.instance.auth.links.create(maker, wanted)
        refused = browser.post("/auth/share-by-link/password", {"perm_id": link.ref.id, "password": "x"}, Accept="application/json")
        assert (refused.status, refused.json) == (403, {"error": "Mot de passe incorrect"})
