"""The words of the pages, by language: one module for each group of pages, each with all languages (docs/http/auth.md).

`tests/http/test_words.py` holds that no language lacks a sentence or one of its values.
"""

from collections.abc import Mapping

from blueprints._text import connect, consent, links, security, settings, start

_SPOKEN = ("en", "fr", "de", "es")
_BY_LANGUAGE = (connect, consent, links, settings)
"""Modules with a table for each language."""
_BY_SENTENCE = (start, security)
"""Modules with one table, of the sentences in all languages."""
LANGUAGES: Mapping[str, Mapping[str, str]] = {
    language: {sentence: words for part in _BY_LANGUAGE for sentence, words in getattr(part, language.upper()).items()}
    | {sentence: words[place] for part in _BY_SENTENCE for sentence, words in part.WORDS.items()}
    for place, language in enumerate(_SPOKEN)
}


def has_text(sentence: str) -> bool:
    """Whether there is such a sentence."""
    return sentence in LANGUAGES["en"]


def text(locale: str, sentence: str, /, **values: str) -> str:
    """A sentence in a language."""
    found = LANGUAGES.get(locale, LANGUAGES["en"])[sentence]
    return found.format(**values) if values else found
