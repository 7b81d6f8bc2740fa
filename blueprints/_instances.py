"""Parameters of the operator's requests about instances, as tools of the reference name them (docs/http/instances.md)."""

from collections.abc import Callable, Mapping
from typing import Any

from cozyd.auth.passphrase import NewPassphrase
from cozyd.auth.vault import VaultKeys
from cozyd.config import Config
from cozyd.errors import BadRequest, Invalid
from cozyd.records import size_of
from cozyd.tenancy import NewInstance, with_template

Query = Mapping[str, str]

_DOCUMENT = {"Email": "email", "PublicName": "public_name", "Phone": "phone", "Timezone": "tz"}
_SETTINGS = {
    "Locale": "locale",
    "UUID": "uuid",
    "OIDCID": "oidc_id",
    "ContextName": "context",
    "AuthMode": "auth_mode",
    "TOSSigned": "tos",
    "TOSLatest": "tos_latest",
}
_TEXTS = {
    "FranceConnectID": "franceconnect_id",
    "OrgDomain": "org_domain",
    "OrgID": "org_id",
    "OldDomain": "old_domain",
    "BlockingReason": "blocking_reason",
}
_FLAGS = {"MagicLink": "magic_link", "Blocked": "blocked", "Deleting": "deleting"}
_LISTS = {"feature_sets": "feature_sets", "FeatureSets": "feature_sets"}


def names(text: str) -> list[str]:
    """A list with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def boolean(text: str, source: str) -> bool:
    """A parameter that is true or false.

    :raises BadRequest: it is neither.
    """
    found = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}.get(text.lower())
    if found is None:
        raise BadRequest(f"{source} has to be true or false", source=source)
    return found


def new_instance(asked: Query, config: Config) -> NewInstance:
    """What is asked of a new instance.

    :raises BadRequest, Invalid: a parameter that cannot be; `DiskQuota` is in bytes, or has a unit.
    """
    settings = _settings(asked)
    wanted = {
        "passphrase": _passphrase(asked),
        "email": asked.get("Email"),
        "public_name": asked.get("PublicName"),
        "phone": asked.get("Phone"),
        "timezone": asked.get("Timezone"),
        "locale": settings.pop("locale", None),
        "aliases": names(asked.get("DomainAliases", "")),
        "quota": size_of(asked.get("DiskQuota")),
        "context": settings.pop("context", None),
        "apps": names(asked["Apps"]) if asked.get("Apps") else None,
        "settings": settings,
        "features": {},
        "record": {name: value for name, value in record_changes(asked).items() if value not in (None, False)},
    }
    return with_template(wanted, config, asked.get("Template", ""))


def settings_changes(asked: Query) -> dict[str, Any]:
    """What is asked of the settings of an instance, by the names clients see."""
    found = _settings(asked)
    return found | {name: asked[given] for given, name in _DOCUMENT.items() if asked.get(given)}


def record_changes(asked: Query) -> dict[str, Any]:
    """What is asked of the record alone; None removes a field."""
    found: dict[str, Any] = {name: asked[given] or None for given, name in _TEXTS.items() if given in asked}
    found |= {name: boolean(asked[given], given) or None for given, name in _FLAGS.items() if asked.get(given)}
    found |= {name: sorted(names(asked[given])) or None for given, name in _LISTS.items() if given in asked}
    if found.get("blocked") is None and "blocked" in found:
        found["blocking_reason"] = None
    return found


def quota_change(asked: Query) -> dict[str, Any]:
    """What is asked of the quota: bytes, or a size with a unit; -1 ends it."""
    if not asked.get("DiskQuota"):
        return {}
    quota = size_of(asked["DiskQuota"])
    return {"disk_quota": str(quota) if quota else None}


def _settings(asked: Query) -> dict[str, Any]:
    found: dict[str, Any] = dict(part.split(":", 1) for part in names(asked.get("Settings", "")) if ":" in part)
    if "sponsorships" in found:
        found["sponsorships"] = [found["sponsorships"]]
    for given in ("sponsorships", "Sponsorships"):
        if asked.get(given):
            found["sponsorships"] = names(asked[given])
    found |= {name: asked[given] for given, name in _SETTINGS.items() if asked.get(given)}
    named: Mapping[str, tuple[str, Callable[[str, str], Any]]] = {
        "AutoUpdate": ("auto_update", boolean),
        "OnboardingFinished": ("onboarding_finished", boolean),
    }
    return found | {name: read(asked[given], given) for given, (name, read) in named.items() if asked.get(given)}


def _passphrase(asked: Query) -> NewPassphrase | None:
    if "Passphrase" not in asked:
        return None
    text = asked.get("KdfIterations") or "0"
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise Invalid("KdfIterations has to be a number", source="KdfIterations")
    iterations, key = int(text), asked.get("Key", "")
    if iterations and not 50_000 <= iterations <= 5_000_000:
        raise Invalid("The KdfIterations number is out of bounds", source="KdfIterations")
    return NewPassphrase(asked["Passphrase"], iterations if key else 0, VaultKeys(key=key))
