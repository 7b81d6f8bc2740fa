"""The instance settings as clients see them: one object out of the instance record and a document (pure; docs/http/settings.md).

What a client sends back is taken apart again: members of the record, members of the document, and what is only shown.
"""

import re
from collections.abc import Mapping
from typing import Any

from cozyd.documents.store import Doc
from cozyd.errors import BadRequest, Invalid
from cozyd.records import AUTH_MODES, auth_mode
from cozyd.settings import terms

HOME = "home/"
OF_THE_OPERATOR = frozenset(("auth_mode", "tos", "tos_latest", "uuid", "context", "sponsorships", "oidc_id"))
"""Members that nobody changes here but the operator; from others they are ignored."""
GUARDED = ("email", "pending_email")
"""Members that take the passphrase to change."""
GUARDED_BY_SIGNUP = ("phone", "recovery_email")
"""Guarded too where a sign-up service keeps them (context key `signup_url`)."""
GUARDED_OF_VAULT = ("passphrase_kdf", "passphrase_kdf_iterations", "security_stamp", "key", "public_key", "private_key")
"""The same of the document that says how clients derive the passphrase, and has the keys of her vault."""
SHOWN = frozenset(("password_defined", "org_domain", "org_id", "legal_notice_url", "oidc_logout_url"))
"""Members that come from the record or the context alone."""
_TEXTS = ("uuid", "oidc_id", "context")
_LOCALE = re.compile(r"[a-z]{2,3}([-_][A-Za-z0-9]{2,8})*")


def guarded(context: Mapping[str, Any]) -> tuple[str, ...]:
    """The members that only the operator, or the owner with her passphrase, changes."""
    return GUARDED + (GUARDED_BY_SIGNUP if context.get("signup_url") else ())


def shown(record: Mapping[str, Any], document: Mapping[str, Any], context: Mapping[str, Any]) -> Doc:
    """The instance settings as they are read."""
    found = {name: value for name, value in document.items() if name not in ("_id", "_rev")} | {
        "locale": record.get("locale", "en"),
        "onboarding_finished": record.get("onboarding_finished") is True,
        "auto_update": not record.get("no_auto_update"),
        "auth_mode": auth_mode(record),
        "tos": record.get("tos") or "",
        "tos_latest": record.get("tos_latest") or "",
        "uuid": record.get("uuid") or "",
        "oidc_id": record.get("oidc_id") or "",
        "org_domain": record.get("org_domain") or "",
        "org_id": record.get("org_id") or "",
        "context": record.get("context") or "",
    }
    if record.get("password_defined") is not None:
        found["password_defined"] = record["password_defined"]
    if record.get("sponsorships"):
        found["sponsorships"] = record["sponsorships"]
    if context.get("legal_notice_url"):
        found["legal_notice_url"] = context["legal_notice_url"]
    target = found.get("default_redirection")
    if not isinstance(target, str) or target.startswith("http"):
        found["default_redirection"] = redirection(context)
    return found


def redirection(context: Mapping[str, Any]) -> str:
    """Where she goes after logging in when she chose nothing: `slug/path`."""
    return str(context.get("default_redirection") or HOME)


def taken_apart(
    attributes: Mapping[str, Any], record: Mapping[str, Any], old: Mapping[str, Any], made_up: str
) -> tuple[Doc, dict[str, Any]]:
    """What a client sends as the new document, and what changes in the record (None removes a field).

    :param old: the document as it is.
    :param made_up: the redirection that answers have when the document has none: it is not stored.
    :raises Invalid: a member of the wrong type.
    :raises BadRequest: no such way to log in, no version of terms.
    """
    given = {name: value for name, value in attributes.items() if not name.startswith("_") and name not in SHOWN}
    changes: dict[str, Any] = {}
    if "locale" in given:
        changes["locale"] = _locale(given.pop("locale"))
    for name in _TEXTS:
        if name in given:
            changes[name] = _text(name, given.pop(name)) or None
    if "onboarding_finished" in given:
        changes["onboarding_finished"] = _boolean("onboarding_finished", given.pop("onboarding_finished"))
    if "auto_update" in given:
        changes["no_auto_update"] = True if not _boolean("auto_update", given.pop("auto_update")) else None
    if "auth_mode" in given:
        changes["auth_mode"] = auth_mode_number(given.pop("auth_mode"))
    if "sponsorships" in given:
        changes["sponsorships"] = _names(given.pop("sponsorships")) or None
    signed, latest = (_text(name, given.pop(name, "")) for name in ("tos", "tos_latest"))
    if signed == (record.get("tos") or ""):
        signed = ""
    changes |= terms.changed(record, signed=signed, latest=latest)
    if given.get("default_redirection") == made_up and "default_redirection" not in old:
        del given["default_redirection"]
    return given, {name: value for name, value in changes.items() if value != record.get(name)}


def auth_mode_number(name: Any) -> int:
    """How the record keeps a way to log in.

    :raises BadRequest: there is no such way.
    """
    if name not in AUTH_MODES:
        raise BadRequest(f"{name!r} is no auth_mode", source="/data/attributes/auth_mode")
    return AUTH_MODES.index(name)


def _locale(value: Any) -> str:
    """A language as official apps send it; pages fall back to English where they have not its words."""
    if not isinstance(value, str) or not _LOCALE.fullmatch(value):
        raise _wrong("locale", "a language")
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(name, "text")
    return value


def _boolean(name: str, value: Any) -> bool:
    found = {"true": True, "false": False, True: True, False: False}.get(value) if isinstance(value, str | bool) else None
    if found is None:
        raise _wrong(name, "true or false")
    return found


def _names(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise _wrong("sponsorships", "a list of names")
    return value


def _wrong(name: str, expected: str) -> Invalid:
    return Invalid(f"{name} has to be {expected}", source=f"/data/attributes/{name}")
