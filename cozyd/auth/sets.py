"""Permission documents (`io.cozy.permissions`): the sets of apps and konnectors, and share links (docs/http/permissions.md)."""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from cozyd.documents import Documents
from cozyd.documents.store import Key, Projection, Ref, Row, Stored
from cozyd.errors import BadRequest, BadToken, CozyError, Forbidden, NotFound
from cozyd.permissions import ACTIONS, Action, Rule, parse_set, write_actions

PERMISSIONS = "io.cozy.permissions"
APPS, KONNECTORS, SHARINGS = "io.cozy.apps", "io.cozy.konnectors", "io.cozy.sharings"
SHORT_CODE = re.compile(r"([0-9]{6}|[A-Za-z0-9_]{12})\.?")
KEPT_CODES = 4096

BY_TOKEN, BY_SHORT_CODE, BY_DOC, BY_DOCTYPE, BY_SOURCE = (
    "byToken",
    "by-short-code",
    "byDoc",
    "permissions-by-doctype",
    "permissions-by-source",
)


def rules_of(stored: Stored) -> tuple[Rule, ...]:
    """The rules of a permission document; what cannot be read gives none."""
    try:
        return parse_set(stored.doc.get("permissions") or {})
    except CozyError:
        return ()


def names_of(stored: Stored, field: str) -> Mapping[str, str]:
    """Its `codes` or `shortcodes`: name -> code."""
    found = stored.doc.get(field)
    return {str(name): code for name, code in found.items() if isinstance(code, str)} if isinstance(found, dict) else {}


def is_expired(stored: Stored, now: datetime) -> bool:
    """Whether its time is over; a time that cannot be read is over."""
    until = stored.doc.get("expires_at")
    if until is None:
        return False
    try:
        return datetime.fromisoformat(until) <= now
    except (TypeError, ValueError):
        return True


class Sets:
    """The permission documents of one instance, as requests ask for them."""

    def __init__(self, docs: Documents, now: Callable[[], datetime]) -> None:
        self._docs = docs
        self._now = now
        self._codes: OrderedDict[str, Ref] = OrderedDict()

    def get(self, id: str) -> Stored:
        """A permission document, expired or not.

        :raises NotFound: there is none.
        """
        if id.startswith("_"):
            raise NotFound
        return self._docs.get(Ref(PERMISSIONS, id))

    def of_app(self, kind: str, slug: str) -> Stored | None:
        """The set of an app (`app`) or konnector, None when it is not installed."""
        home = APPS if kind == "app" else KONNECTORS
        rows = self._docs.rows(BY_SOURCE, (f"{home}/{slug}", kind), limit=1)
        return self._find(rows[0]) if rows else None

    def of_code(self, token: str) -> Stored:
        """The document that lists a share token.

        :raises Forbidden: none does.
        :raises BadRequest: several do.
        :raises BadToken: its time is over, or the app it came from is gone.
        """
        known = self._codes.get(token)
        stored = self._find_ref(known) if known is not None else None
        if stored is None or token not in names_of(stored, "codes").values():
            stored = self._look_up(token)
        if is_expired(stored, self._now()) or self._is_orphan(stored):
            raise BadToken(expired=True)
        return stored

    def token_of(self, short: str) -> str:
        """The token a short code stands for; a full stop that ended the sentence is no part of it.

        :raises Forbidden: it stands for none.
        """
        short = short.removesuffix(".")
        rows = self._docs.rows(BY_SHORT_CODE, (short,), limit=2)
        stored = self._find(rows[0]) if len(rows) == 1 else None
        if stored is None:
            raise Forbidden(f"no permission doc for shortcode {short}")
        token = names_of(stored, "codes").get(str(rows[0].value))
        if token is None:
            raise Forbidden(f"no permission doc for shortcode {short}")
        return token

    def is_short_code_free(self, short: str) -> bool:
        """Whether no link has it."""
        return not self._docs.rows(BY_SHORT_CODE, (short,), limit=1)

    def shared_verbs(self, doctype: str, id: str) -> frozenset[Action]:
        """What links that name a document allow with it, links whose time is over left out."""
        found: set[Action] = set()
        for row in self._docs.rows(BY_DOC, (doctype, "_id", id)):
            stored = self._find(row)
            if stored is not None and not is_expired(stored, self._now()):
                found |= _verbs(stored, doctype, id)
        return frozenset(found)

    def by_doctype(self, doctype: str, *, after: tuple[Key, str] | None, limit: int) -> Sequence[Stored]:
        """A page of the share links that have a rule on a doctype, by id."""
        rows = self._docs.rows(BY_DOCTYPE, (doctype, "share"), after=after, limit=limit)
        refs = dict.fromkeys(row.ref for row in rows)  # the reference's view has a row for each rule
        return [stored for ref in refs if (stored := self._find_ref(ref)) is not None]

    # -- inside -----------------------------------------------------------------------------------------------------

    def _look_up(self, token: str) -> Stored:
        rows = self._docs.rows(BY_TOKEN, (token,), limit=2)
        if len(rows) > 1:
            raise BadRequest("Bad state: several permission docs for the token")
        stored = self._find(rows[0]) if rows else None
        if stored is None:
            raise Forbidden
        self._codes[token] = stored.ref
        while len(self._codes) > KEPT_CODES:
            self._codes.popitem(last=False)
        return stored

    def _is_orphan(self, stored: Stored) -> bool:
        """Whether the app or sharing it came from was removed; one that was never there is the operator's own affair."""
        home, slash, name = str(stored.doc.get("source_id", "")).partition("/")
        if not slash or home not in (APPS, KONNECTORS, SHARINGS):
            return False
        try:
            self._docs.get(Ref(home, name if home == SHARINGS else f"{home}/{name}"))
        except NotFound as missing:
            return missing.detail == "deleted"
        return False

    def _find(self, row: Row) -> Stored | None:
        return self._find_ref(row.ref)

    def _find_ref(self, ref: Ref) -> Stored | None:
        try:
            return self._docs.get(ref)
        except NotFound:
            return None


def _verbs(stored: Stored, doctype: str, id: str) -> set[Action]:
    named = [rule for rule in rules_of(stored) if rule.doctype == doctype and rule.selector in (None, "_id") and id in rule.values]
    return {action for rule in named for action in rule.actions}


# -- projections ----------------------------------------------------------------------------------------------------------

Pairs = Iterable[tuple[Key, Any]]


def _tokens(stored: Stored) -> Pairs:
    if not str(stored.doc.get("type", "")).startswith("share"):
        return ()
    return [((code,), None) for code in dict.fromkeys(names_of(stored, "codes").values())]


def _short_codes(stored: Stored) -> Pairs:
    return [((code,), name) for name, code in names_of(stored, "shortcodes").items()]


def _documents(stored: Stored) -> Pairs:
    if stored.doc.get("type") != "share":
        return ()
    found: dict[Key, Any] = {}
    for rule in rules_of(stored):
        for value in rule.values:
            found[rule.doctype, rule.selector or "_id", value] = None if rule.actions == ACTIONS else write_actions(rule.actions)
    return found.items()


def _doctypes(stored: Stored) -> Pairs:
    kind = str(stored.doc.get("type", ""))
    return [((doctype, kind), None) for doctype in dict.fromkeys(rule.doctype for rule in rules_of(stored))]


def _sources(stored: Stored) -> Pairs:
    return [((str(stored.doc.get("source_id", "")), str(stored.doc.get("type", ""))), None)]


_TOKENS_VIEW = """function (doc) {
  if (doc.type && doc.type.slice(0, 5) === "share" && doc.codes) {
    Object.keys(doc.codes).forEach(function (name) { emit(doc.codes[name]); });
  }
}"""
_SHORT_CODES_VIEW = """function (doc) {
  Object.keys(doc.shortcodes || {}).forEach(function (name) { emit(doc.shortcodes[name], name); });
}"""
_DOCUMENTS_VIEW = """function (doc) {
  if (doc.type !== "share") { return; }
  Object.keys(doc.permissions || {}).forEach(function (title) {
    var rule = doc.permissions[title];
    (rule.values || []).forEach(function (value) { emit([rule.type, rule.selector || "_id", value], rule.verbs || null); });
  });
}"""
_DOCTYPES_VIEW = """function (doc) {
  var seen = {};
  Object.keys(doc.permissions || {}).forEach(function (title) { seen[doc.permissions[title].type] = true; });
  Object.keys(seen).forEach(function (doctype) { emit([doctype, doc.type || ""], null); });
}"""
_SOURCES_VIEW = """function (doc) { emit([doc.source_id || "", doc.type || ""], null); }"""

PROJECTIONS = (
    Projection(BY_TOKEN, of={PERMISSIONS: _tokens}, reads=frozenset(("type", "codes")), depth=0, view=_TOKENS_VIEW, scalar=True),
    Projection(
        BY_SHORT_CODE, of={PERMISSIONS: _short_codes}, reads=frozenset(("shortcodes",)), depth=0, view=_SHORT_CODES_VIEW, scalar=True
    ),
    Projection(BY_DOC, of={PERMISSIONS: _documents}, reads=frozenset(("type", "permissions")), depth=0, view=_DOCUMENTS_VIEW),
    Projection(BY_DOCTYPE, of={PERMISSIONS: _doctypes}, reads=frozenset(("type", "permissions")), depth=0, view=_DOCTYPES_VIEW),
    Projection(BY_SOURCE, of={PERMISSIONS: _sources}, reads=frozenset(("type", "source_id")), depth=0, view=_SOURCES_VIEW),
)
