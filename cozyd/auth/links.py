"""Share links: made, changed and revoked by who may; their passwords (docs/http/permissions.md)."""

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from cozyd.auth.sets import APPS, KONNECTORS, PERMISSIONS, Sets, is_expired, names_of, rules_of
from cozyd.documents import Documents
from cozyd.documents.store import Doc, Stored, Write
from cozyd.errors import BadRequest, Forbidden, Invalid, NotFound
from cozyd.files.tree import write_time
from cozyd.permissions import FILES, Principal, Rule, check_writable, parse_rule, parse_set, write_set

MOST_CODES, LONGEST_NAME = 1000, 200
TINY_FOR = timedelta(hours=1)
_LETTERS = string.ascii_letters + string.digits
_PART = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ns|us|µs|ms|Y|M|W|D|h|m|s)"
_SPAN = re.compile(f"(?:{_PART})+")
_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1,
    "m": 60,
    "h": 3600,
    "D": 86_400,
    "W": 604_800,
    "M": 2_592_000,
    "Y": 31_536_000,
}
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})")
_CREATORS = frozenset(("app", "konnector", "client", "cli"))
_PATCH = "The patch doc should have property 'codes' or 'permissions', not both"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a new link should be.

    :param names: one code is made for each.
    :param ttl: a span of time, as `1h30m` or `2W`; it goes before `expires_at` of the attributes.
    :param tiny: short codes of six digits, for links of an hour at most.
    """

    attributes: Mapping[str, Any]
    names: Sequence[str] = ("",)
    ttl: str = ""
    tiny: bool = False


@dataclass(frozen=True, slots=True)
class Maker:
    """Who makes or changes a link.

    :param source: the `source_id` of its documents.
    :param slug: what `cozyMetadata` names as the app; empty for the command line.
    """

    principal: Principal
    source: str
    slug: str = ""
    domain: str = ""

    @property
    def may_create(self) -> bool:
        """Whether it makes links at all: guests and devices do not."""
        return self.principal.kind in _CREATORS


class Links:
    """The share links of one instance.

    :param sign: makes the token of a code from its name.
    :param keep: makes of a password what is stored of it.
    :param matches: whether a password is the one that was stored so.
    """

    def __init__(
        self,
        docs: Documents,
        sets: Sets,
        sign: Callable[[str], str],
        keep: Callable[[str], str],
        matches: Callable[[str, str], bool],
        now: Callable[[], datetime],
    ) -> None:
        self._docs = docs
        self._sets = sets
        self._sign = sign
        self._keep = keep
        self._matches = matches
        self._now = now

    def create(self, maker: Maker, wanted: Wanted) -> Stored:
        """Make a link whose rules the maker has itself.

        :raises Forbidden: a guest asks, or for more than the maker may.
        :raises BadRequest: the rules are malformed.
        :raises Invalid: a bad time, password or name.
        """
        if not maker.may_create:
            raise Forbidden("Only apps can create sharing permissions")
        asked = wanted.attributes.get("permissions")
        rules = parse_set({} if asked is None else asked)
        check_set(maker.principal, rules)
        doc: Doc = {"type": "share", "source_id": maker.source, "permissions": write_set(rules)}
        until = self._until(wanted)
        if until is not None:
            doc["expires_at"] = until
        password = _password(wanted.attributes.get("password"))
        if password:
            doc["password"] = self._keep(password)
        is_tiny = wanted.tiny and bool(wanted.ttl) and span(wanted.ttl) <= TINY_FOR
        names = _names(wanted.names)
        doc["codes"] = {name: self._sign(name) for name in names}
        doc["shortcodes"] = {name: self._short_code(is_tiny) for name in names}
        doc["cozyMetadata"] = self._stamp(maker, wanted.attributes.get("cozyMetadata"))
        return self._docs.put(PERMISSIONS, doc)

    def is_parent(self, maker: Maker, link: Stored) -> bool:
        """Whether it may change and revoke a link: it made it, or may itself all that the link allows."""
        if link.doc.get("type") != "share" or maker.principal.kind not in ("app", "client"):
            return False
        rules = rules_of(link)
        return link.doc.get("source_id") == maker.source or (bool(rules) and maker.principal.holds(rules))

    def patch(self, maker: Maker, id: str, given: Mapping[str, Any]) -> Stored:
        """Change a permission document: codes, or rules, and time and password.

        Who is not its parent can only add rules of its own, and only to an app or konnector.
        :raises Forbidden: not the parent, or for more than it may.
        :raises BadRequest: codes and rules together, or nothing.
        """

        def write() -> Stored:
            stored = self._sets.get(id)
            fields = self._changes(maker, stored, given)
            fields["cozyMetadata"] = self._restamp(maker, stored, given.get("cozyMetadata"))
            return self._docs.commit([Write(stored.ref, patch=fields, rev=stored.rev)])[0].made

        return self._docs.retry(write)

    def revoke(self, maker: Maker, id: str) -> None:
        """Remove a link, whether its time is over or not.

        :raises Forbidden: not the parent.
        :raises NotFound: there is none.
        """
        stored = self._sets.get(id)
        if not self.is_parent(maker, stored):
            raise Forbidden("Permissions can be updated only by its parent")
        self._docs.delete(stored.ref, stored.rev)

    # -- passwords --------------------------------------------------------------------------------------------------

    def unlock(self, id: str, password: str, key: bytes) -> str | None:
        """The value of the cookie `pass<id>` for a link's password; None: the link has none.

        :raises NotFound: no such link, or its time is over.
        :raises Forbidden: another password.
        """
        stored = self._sets.get(id)
        if not str(stored.doc.get("type", "")).startswith("share") or is_expired(stored, self._now()):
            raise NotFound
        kept = stored.doc.get("password")
        if not kept:
            return None
        if not self._matches(password, str(kept)):
            raise Forbidden("Invalid password")
        return _pass(stored, key)

    @staticmethod
    def is_unlocked(stored: Stored, shown: str, key: bytes) -> bool:
        """Whether a link has no password, or the cookie shows that it was given; another password ends that."""
        if not stored.doc.get("password"):
            return True
        return hmac.compare_digest(shown.encode(), _pass(stored, key).encode())

    # -- inside -----------------------------------------------------------------------------------------------------

    def _changes(self, maker: Maker, stored: Stored, given: Mapping[str, Any]) -> Doc:
        codes, permissions = given.get("codes") or None, given.get("permissions") or None
        if permissions is None and not self.is_parent(maker, stored):
            raise Forbidden("Permissions can be updated only by its parent")
        if codes is not None and permissions is not None:
            raise BadRequest(_PATCH)
        fields: Doc = {}
        if permissions is not None:
            fields["permissions"] = self._patched_set(maker, stored, permissions)
        if codes is not None:
            fields |= self._patched_codes(stored, codes)
        if given.get("password") is not None or given.get("expires_at") is not None:
            if not self.is_parent(maker, stored):
                raise Forbidden("Permissions can be updated only by its parent")
            fields |= _patched_guards(given, self._keep)
        if not fields:
            raise BadRequest(_PATCH)
        return fields

    def _patched_set(self, maker: Maker, stored: Stored, given: Any) -> Doc:
        """Rules are added or replaced by title; one without a type removes its title."""
        if not isinstance(given, dict):
            raise BadRequest("Permission scope is empty or malformed")
        is_own = self.is_parent(maker, stored) or stored.doc.get("source_id") == maker.source != ""
        if not is_own and (stored.doc.get("type") not in ("app", "konnector") or not maker.may_create):
            raise Forbidden("Permissions can be updated only by its parent")
        rules = {rule.title: rule for rule in rules_of(stored)}
        for title, one in given.items():
            if isinstance(one, dict) and not one.get("type"):
                if not is_own:
                    raise Forbidden("Permissions can be updated only by its parent")
                rules.pop(title, None)
                continue
            rule = parse_rule(title, one)
            check_set(maker.principal, [rule])
            rules[title if is_own else _free_title(title, rule, rules)] = rule
        return write_set(_retitled(title, rule) for title, rule in rules.items())

    def _patched_codes(self, stored: Stored, given: Any) -> Doc:
        """Codes are replaced; of the names that stay, the codes and short codes stay too, new names get new ones."""
        if not isinstance(given, dict) or not all(isinstance(code, str) for code in given.values()):
            raise Invalid("codes must be an object of texts", source="/data/attributes/codes")
        names = _names(list(given))
        codes, short = names_of(stored, "codes"), names_of(stored, "shortcodes")
        return {
            "codes": {name: codes.get(name) or self._sign(name) for name in names},
            "shortcodes": {name: short[name] for name in names if name in short},
        }

    def _until(self, wanted: Wanted) -> str | None:
        if wanted.ttl:
            try:
                return write_time(self._now() + span(wanted.ttl))
            except OverflowError:
                raise Invalid("The time is too far away", source="ttl") from None
        return _time(wanted.attributes.get("expires_at"))

    def _short_code(self, is_tiny: bool) -> str:
        while True:
            made = f"{secrets.randbelow(10**6):06}" if is_tiny else "".join(secrets.choice(_LETTERS) for _ in range(12))
            if self._sets.is_short_code_free(made):
                return made

    def _stamp(self, maker: Maker, given: Any) -> Doc:
        now = write_time(self._now())
        stamp: Doc = {"doctypeVersion": "1", "metadataVersion": 1, "createdAt": now, "updatedAt": now}
        if maker.slug:
            stamp["createdByApp"] = maker.slug
            stamp["updatedByApps"] = [{"slug": maker.slug, "date": now, "instance": maker.domain}]
        return (dict(given) if isinstance(given, dict) else {}) | stamp

    def _restamp(self, maker: Maker, stored: Stored, given: Any) -> Doc:
        now = write_time(self._now())
        stamp: Doc = dict(stored.doc.get("cozyMetadata") or {})
        others = [app for app in stamp.get("updatedByApps") or () if isinstance(app, dict) and app.get("slug") != maker.slug]
        if maker.slug:
            stamp["updatedByApps"] = [*others, {"slug": maker.slug, "date": now, "instance": maker.domain}]
        return (dict(given) if isinstance(given, dict) else {}) | stamp | {"updatedAt": now}


def check_set(principal: Principal, rules: Sequence[Rule]) -> None:
    """Refuse to pass on what a principal has not itself, and what no app may write (files have a service of their own).

    :raises Forbidden: more than it has, or a reserved doctype.
    """
    if not principal.holds(rules):
        raise Forbidden("Attempt to create a larger permission set")
    for rule in rules:
        if rule.doctype != FILES:
            check_writable(rule.doctype.removesuffix(".*"))


def span(text: str) -> timedelta:
    """A span of time: `1D`, `2W`, `1M`, `1Y`, `30m`, `1h30m`.

    :raises Invalid: it is none.
    """
    if not _SPAN.fullmatch(text):
        raise Invalid(f"{text!r} is no span of time", source="ttl")
    parts = re.findall(_PART, text)
    try:
        return timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in parts))
    except OverflowError:
        raise Invalid("The time is too far away", source="ttl") from None


def maker_of(principal: Principal, linked_app: str, domain: str) -> Maker:
    """A principal as the maker of links; a client linked to an app makes them in that app's name."""
    if principal.kind == "app" or linked_app:
        slug = linked_app or principal.id
        return Maker(principal, f"{APPS}/{slug}", slug, domain)
    if principal.kind == "konnector":
        return Maker(principal, f"{KONNECTORS}/{principal.id}", principal.id, domain)
    return Maker(principal, principal.id, principal.id, domain)


def _retitled(title: str, rule: Rule) -> Rule:
    return replace(rule, title=title)


def _free_title(title: str, rule: Rule, rules: Mapping[str, Rule]) -> str:
    """A title that takes nothing away from whose rules they are."""
    free, number = title, 2
    while free in rules and rules[free] != _retitled(free, rule):
        free, number = f"{title}-{number}", number + 1
    return free


def _names(given: Sequence[str]) -> list[str]:
    names = list(dict.fromkeys(given))
    if len(names) > MOST_CODES or any(len(name) > LONGEST_NAME for name in names):
        raise Invalid("Too many codes, or too long names", source="codes")
    return names


def _patched_guards(given: Mapping[str, Any], keep: Callable[[str], str]) -> Doc:
    """Password and time: an empty text removes, nothing keeps."""
    fields: Doc = {}
    if given.get("password") is not None:
        password = _password(given["password"])
        fields["password"] = keep(password) if password else ...
    if given.get("expires_at") is not None:
        fields["expires_at"] = _time(given["expires_at"]) if given["expires_at"] != "" else ...
    return fields


def _password(given: Any) -> str:
    if given is None:
        return ""
    if not isinstance(given, str):
        raise Invalid("The password must be a text", source="/data/attributes/password")
    return given


def _time(given: Any) -> str | None:
    """A time of RFC 3339, as documents have it.

    :raises Invalid: it is none; a link that was to end shall not last for ever by a slip.
    """
    if given is None or given == "":
        return None
    try:
        if not _TIME.fullmatch(given):
            raise ValueError
        return write_time(datetime.fromisoformat(given))
    except (TypeError, ValueError, OverflowError):
        raise Invalid("expires_at must be a time of RFC 3339", source="/data/attributes/expires_at") from None


def _pass(stored: Stored, key: bytes) -> str:
    """What the cookie of a link holds once its password was given."""
    text = f"pass\n{stored.ref.id}\n{stored.doc.get('password')}"
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
