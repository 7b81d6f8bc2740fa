"""`Rule`, `Principal`: parse a scope or a set, reserved doctypes, decide verb x doctype x document (docs/http/permissions.md)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from cozyd.documents.store import Doc, Stored
from cozyd.errors import BadRequest, Forbidden

Action = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
ACTIONS: frozenset[Action] = frozenset(get_args(Action))
Kind = Literal["owner", "app", "konnector", "client", "link", "device", "job", "cli", "register"]

FILES = "io.cozy.files"
ROOT_DIR = "io.cozy.files.root-dir"

_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
_COZY_CLOSED = (
    "account_types konnectors.maintenance remote.secrets sessions permissions intents oauth.clients oauth.access_codes files.archives "
    "sharings shared accounts.soft_deleted certified.carbon_copy certified.electronic_safe files.sizes triggers.state sharings.answer "
    "sharings.moved support office.url notes.url apps.open auth.confirmations jobs.events sharings.initial_sync notes.events "
    "notes.telepointers files.thumbnails apps.logs devices files.locks oauth.grants "
    "auth.factors auth.passkeys auth.trusted dav.subscriptions dav.feeds triggers.pending"
)
CLOSED = frozenset({f"io.cozy.{name}" for name in _COZY_CLOSED.split()} | {"instances", "com.bitwarden.profiles"})
"""Doctypes that no app may read or write through `/data`."""
_COZY_READ_ONLY = (
    "jobs triggers apps konnectors files files.versions notifications remote.requests sessions.logins auth.events notes.steps notes.images"
)
READ_ONLY = frozenset({f"io.cozy.{name}" for name in _COZY_READ_ONLY.split()} | {"com.bitwarden.contacts"})
"""Doctypes that apps may read through `/data`; their own services write them."""


def check_doctype(name: str) -> None:
    """Refuse a name that is none: lower-case letters, digits, `.`, `_`; no leading, trailing or double dot.

    :raises Forbidden: as the reference answers.
    """
    if not _NAME.fullmatch(name):
        raise Forbidden(f"{name} is not a valid doctype name")


def check_readable(doctype: str) -> None:
    """:raises Forbidden: the name is none, or the doctype is closed."""
    check_doctype(doctype)
    if doctype in CLOSED:
        raise Forbidden(f"reserved doctype {doctype} unreadable")


def check_writable(doctype: str) -> None:
    """:raises Forbidden: the name is none, or the doctype is closed or read-only."""
    check_doctype(doctype)
    if doctype in CLOSED or doctype in READ_ONLY:
        raise Forbidden(f"reserved doctype {doctype} unwritable")


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a permission set.

    :param doctype: may end in `.*`: that name itself and everything below it.
    :param actions: never empty; absent on the wire means all.
    :param selector: field the values are matched on; None = `_id`.
    :param values: empty: the whole type.
    :param all_named: its actions are all there are, and were named one by one: they are written so again.
    """

    title: str
    doctype: str
    actions: frozenset[Action]
    selector: str | None = None
    values: tuple[str, ...] = ()
    description: str = ""
    all_named: bool = field(default=False, compare=False)

    def covers(self, action: Action, doctype: str) -> bool:
        """Whether the rule speaks of this action on this doctype at all."""
        return action in self.actions and _type_matches(self.doctype, doctype)

    def allows(self, doc: Mapping[str, Any]) -> bool:
        """Whether its values name this document."""
        if not self.values:
            return True
        if self.selector is None:
            return str(doc.get("_id", "")) in self.values
        return any(text in self.values for text in _texts(self.selector, doc))

    def within(self, other: "Rule") -> bool:
        """Whether the other rule allows whatever this one does; no verbs and no values mean all of them, on both sides."""
        if not _type_within(self.doctype, other.doctype) or not self.actions <= other.actions:
            return False
        if not other.values:
            return True
        return bool(self.values) and self.selector == other.selector and set(self.values) <= set(other.values)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking, with its rules in the order of the wire.

    :param id: slug of an app, id of a client, of a link's permission document or of a device; empty for owner and CLI.
    :param everything: no rule is asked (the owner herself, jobs of the server, a client with the scope `*`).
    """

    kind: Kind
    id: str
    rules: tuple[Rule, ...] = ()
    everything: bool = False

    def may(self, action: Action, doctype: str) -> bool:
        """Whether some document of the doctype might be allowed: for refusing a body early, never for admitting."""
        return self.everything or any(rule.covers(action, doctype) for rule in self.rules)

    def holds(self, rules: Iterable[Rule]) -> bool:
        """Whether it may do all that these rules allow, and so may pass them on."""
        return self.everything or all(any(rule.within(own) for own in self.rules) for rule in rules)

    def check(self, action: Action, doctype: str, doc: Stored | Doc | None = None, *, above: Sequence[Stored] = ()) -> None:
        """Pass, or refuse.

        :param doc: the document asked for; None: the whole type.
        :param above: of a file, its ancestor directories: a rule on one of them covers what is below.
        :raises Forbidden: no rule allows it.
        """
        if self.everything:
            return
        rules = [rule for rule in self.rules if rule.covers(action, doctype)]
        if any(not rule.values for rule in rules):
            return
        if doc is None or not rules:
            raise Forbidden
        fields = doc.doc if isinstance(doc, Stored) else doc
        if any(rule.allows(fields) for rule in rules):
            return
        if doctype == FILES and any(_inherits(rule, fields, above) for rule in rules):
            return
        raise Forbidden


def _type_matches(pattern: str, doctype: str) -> bool:
    if pattern.endswith(".*"):
        return doctype == pattern[:-2] or doctype.startswith(pattern[:-1])
    return pattern == doctype


def _type_within(pattern: str, other: str) -> bool:
    """Whether a rule's type names nothing that the other one doesn't."""
    if not pattern.endswith(".*"):
        return _type_matches(other, pattern)
    return other.endswith(".*") and pattern.startswith(other[:-1])


def _texts(selector: str, doc: Mapping[str, Any]) -> list[str]:
    """What a document has in the selected field, as the texts that values are compared with."""
    found = doc.get(selector)
    if selector == "referenced_by" and isinstance(found, list):
        refs = [item for item in found if isinstance(item, dict)]
        bare = [str(item.get("id")) for item in refs]
        if doc.get("type") == "directory":
            return bare
        return bare + [f"{item.get('type')}/{item.get('id')}" for item in refs]
    return [] if found is None else [_as_text(item) for item in (found if isinstance(found, list) else [found])]


def _as_text(value: object) -> str:
    """A JSON value as scopes write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _inherits(rule: Rule, node: Mapping[str, Any], above: Sequence[Stored]) -> bool:
    """The vfs check: a parent, an ancestor or the root is named, or a selector (not mime, class) matches an ancestor."""
    if rule.selector is None:
        return ROOT_DIR in rule.values or node.get("dir_id") in rule.values or any(dir.ref.id in rule.values for dir in above)
    return rule.selector not in ("mime", "class") and any(rule.allows(dir.doc) for dir in above)


def parse_scope(scope: str) -> tuple[Rule, ...]:
    """Read a scope string: space-separated `type[:VERB,VERB|ALL[:value,value[:selector]]]`.

    :raises BadRequest: empty or malformed.
    """
    rules = tuple(_parse_rule(f"rule{number}", text) for number, text in enumerate(scope.split()))
    if not rules:
        raise _malformed()
    return rules


def _parse_rule(title: str, text: str) -> Rule:
    parts = text.split(":")
    doctype, *rest = parts
    if len(parts) > 4 or not all(parts) or not is_rule_type(doctype):
        raise _malformed()
    verbs, values = (part.split(",") for part in [*rest, "", ""][:2])
    if len(parts) > 2 and not all(values):
        raise _malformed()
    selector = parts[3] if len(parts) > 3 else None
    return Rule(title, doctype, parse_actions(verbs if rest else ()), selector, tuple(filter(None, values)), all_named=bool(rest))


def parse_set(given: Any) -> tuple[Rule, ...]:
    """Read a permission set as JSON has it: an object title -> rule.

    :raises BadRequest: another type, an unknown verb, or a selector without values.
    """
    if not isinstance(given, dict):
        raise _malformed()
    return tuple(parse_rule(title, rule) for title, rule in given.items())


def parse_rule(title: str, given: Any) -> Rule:
    """Read one rule: `{type, verbs?, selector?, values?, description?}`.

    :raises BadRequest: as `parse_set`.
    :raises Forbidden: its type is no doctype.
    """
    if not isinstance(given, dict):
        raise _malformed()
    doctype, selector, description = (given.get(name) or "" for name in ("type", "selector", "description"))
    verbs, values = (given.get(name) or [] for name in ("verbs", "values"))
    if not all(isinstance(text, str) for text in (doctype, selector, description)) or not doctype:
        raise _malformed()
    if not _are_texts(verbs) or not _are_texts(values) or not all(values) or (selector and not values):
        raise _malformed()
    if not is_rule_type(doctype):
        raise Forbidden(f"{doctype} is not a valid doctype name")
    named = bool(verbs) and "ALL" not in verbs
    return Rule(title, doctype, parse_actions(verbs), selector or None, tuple(values), description, all_named=named)


def write_set(rules: Iterable[Rule]) -> dict[str, Any]:
    """A permission set as JSON has it; what means all is left out, unless it was named."""
    return {rule.title: _write_rule(rule) for rule in rules}


def write_actions(actions: Iterable[Action]) -> list[Action]:
    """Verbs in the order the reference writes them."""
    given = frozenset(actions)
    return [action for action in get_args(Action) if action in given]


def _write_rule(rule: Rule) -> dict[str, Any]:
    found: dict[str, Any] = {"type": rule.doctype}
    if rule.description:
        found["description"] = rule.description
    if rule.actions != ACTIONS or rule.all_named:
        found["verbs"] = write_actions(rule.actions)
    if rule.selector:
        found["selector"] = rule.selector
    if rule.values:
        found["values"] = list(rule.values)
    return found


def _are_texts(given: Any) -> bool:
    return isinstance(given, list) and all(isinstance(item, str) for item in given)


def is_rule_type(doctype: str) -> bool:
    """Whether a rule may name this type: a doctype, or a wildcard with at least three dots (`io.cozy.bank.*`)."""
    base = doctype.removesuffix(".*")
    return bool(_NAME.fullmatch(base)) and (base == doctype or doctype.count(".") >= 3)


def parse_actions(verbs: Sequence[str]) -> frozenset[Action]:
    """Read verbs; none or `ALL` among them means all.

    :raises BadRequest: an unknown verb.
    """
    known: dict[str, Action] = {action: action for action in get_args(Action)}
    if not verbs or "ALL" in verbs:
        return ACTIONS
    if any(verb not in known for verb in verbs):
        raise _malformed()
    return frozenset(known[verb] for verb in verbs)


def _malformed() -> BadRequest:
    return BadRequest("Permission scope is empty or malformed")
