"""Which changes an `@event` trigger matches: pure (docs/jobs.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cozyd.documents.store import Change, Doc
from cozyd.errors import TriggerUnparsable
from cozyd.permissions import FILES, is_rule_type

VERBS = frozenset(("CREATED", "UPDATED", "DELETED"))
DIFFERS = "!="
MOST_RULES = 100
MALFORMED = "Permission scope is empty or malformed"
"""What the reference says of a pattern that it cannot read."""


@dataclass(frozen=True, slots=True)
class EventRule:
    """One of the patterns of a trigger: `doctype[:VERBS[:values[:selector]]]`.

    :param verbs: those it fires for; a pattern with an empty part for them, or `ALL`, fires for none, as the reference's.
    :param values: ids, or of `selector` what the field may be; none: any document.
    """

    doctype: str
    verbs: frozenset[str] = VERBS
    values: tuple[str, ...] = ()
    selector: str | None = None

    def matches(self, change: Change) -> bool:
        """Whether a change is one of those meant; its doctype is."""
        if change.verb not in self.verbs:
            return False
        if not self.values:
            return True
        if self.selector is None:
            return change.new.ref.id in self.values or (self.doctype == FILES and self._is_above(change))
        if self.values == (DIFFERS,):
            return self._differs(self.selector, change)
        return self._has_value(self.selector, change)

    def _is_above(self, change: Change) -> bool:
        """Whether a folder that the file is in, or was, is meant; one whose content is on its way to the disk is not there yet."""
        if change.verb == "CREATED" and change.new.doc.get("trashed") is True:
            return False
        return any(id in self.values for id in change.about.get("above", ()))

    @staticmethod
    def _differs(selector: str, change: Change) -> bool:
        if change.verb != "UPDATED":
            return True
        return change.old is not None and texts_of(selector, change.new.doc) != texts_of(selector, change.old.doc)

    def _has_value(self, selector: str, change: Change) -> bool:
        docs = [change.new.doc, *([change.old.doc] if change.old is not None else [])]
        return any(text in self.values for doc in docs for text in texts_of(selector, doc))


def rules_of(arguments: str) -> Sequence[EventRule]:
    """The patterns of a trigger, space-separated.

    :raises TriggerUnparsable: one cannot be read, or there are none.
    """
    words = arguments.split()
    if not words or len(words) > MOST_RULES:
        raise TriggerUnparsable(MALFORMED)
    return [_rule(word) for word in words]


def _rule(text: str) -> EventRule:
    doctype, *rest = text.split(":")
    if len(rest) > 3 or not is_rule_type(doctype):
        raise TriggerUnparsable(MALFORMED)
    values, selector = (part[0] if part else "" for part in (rest[1:2], rest[2:3]))
    return EventRule(
        doctype,
        frozenset(rest[0].split(",")) & VERBS if rest else VERBS,
        tuple(value for value in values.split(",") if value),
        selector or None,
    )


def texts_of(selector: str, doc: Mapping[str, Any]) -> list[str]:
    """What a document has in a field, as the texts that values are compared with."""
    found = doc.get(selector)
    if selector == "referenced_by" and isinstance(found, list):
        references: list[Doc] = [one for one in found if isinstance(one, dict)]
        return [text for one in references for text in (str(one.get("id")), f"{one.get('type')}/{one.get('id')}")]
    if found is None:
        return []
    return [_text(one) for one in (found if isinstance(found, list) else [found])]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
