"""What a new instance has: databases, indexes, settings, the owner's own contact, the first folders.

The order is the reference's (docs/http/instances.md): official lists rely on it.
"""

from collections.abc import Mapping
from typing import Any

from cozyd.auth import BITWARDEN, passwords
from cozyd.documents import Documents
from cozyd.documents.store import Write
from cozyd.instance import Instance
from cozyd.settings import INSTANCE

DATABASES = (
    "io.cozy.files",
    "io.cozy.files.versions",
    "io.cozy.apps",
    "io.cozy.konnectors",
    "io.cozy.oauth.clients",
    "io.cozy.jobs",
    "io.cozy.triggers",
    "io.cozy.permissions",
    "io.cozy.sharings",
    "io.cozy.nextcloud.migrations",
    "com.bitwarden.ciphers",
    "io.cozy.sessions.logins",
    "io.cozy.notifications",
    "io.cozy.contacts",
    "io.cozy.settings",
)
CONTACTS = "io.cozy.contacts"
CONTACTS_BY_EMAIL = "function (doc) { (doc.email || []).forEach(function (one) { if (one.address) { emit(one.address, null) } }) }"


def plant(instance: Instance, document: Mapping[str, Any]) -> None:
    """Fill an empty tenant.

    :param document: what the settings document says: `email`, `public_name`...
    """
    docs = instance.docs
    for doctype in DATABASES:
        docs.make(doctype)
    index(docs)
    _settings(docs, document)
    own_contact(instance, document)
    wanted = {name: instance.context.get(f"init_{name}_folder") is not False for name in ("administrative", "photos")}
    instance.files.seed(str(instance.doc.get("locale", "en")), **wanted)


def tell_address(instance: Instance) -> None:
    """Have the owner's own contact tell her domain, after it changed."""
    docs = instance.docs

    def write() -> None:
        for stored in docs.all(CONTACTS).rows:
            if stored.doc.get("me") is True:
                rest = [one for one in stored.doc.get("cozy") or () if isinstance(one, dict) and not one.get("primary")]
                docs.commit([Write(stored.ref, patch={"cozy": [_address(instance), *rest]}, rev=stored.rev)])

    docs.retry(write)


def index(docs: Documents) -> None:
    """Make the indexes that come with doctypes; those that are there stay."""
    for doctype, table in docs.table.items():
        for known in table.indexes:
            docs.index(doctype, known.fields, name=known.name, ddoc=known.name)
    if docs.get_many(CONTACTS, ["_design/contacts-by-email"])[0] is not None:
        return
    view = {"map": CONTACTS_BY_EMAIL}
    docs.put(CONTACTS, {"_id": "_design/contacts-by-email", "language": "javascript", "views": {"contacts-by-email": view}})


def _settings(docs: Documents, document: Mapping[str, Any]) -> None:
    docs.put(INSTANCE.doctype, {**document, "_id": INSTANCE.id})
    docs.put(BITWARDEN.doctype, {"_id": BITWARDEN.id, "passphrase_kdf_iterations": passwords.ITERATIONS})


def own_contact(instance: Instance, document: Mapping[str, Any]) -> None:
    """Her own card, by what her settings say of her."""
    name, email = str(document.get("public_name", "")), document.get("email")
    own = {
        "me": True,
        "fullname": name,
        "displayName": name,
        "cozy": [_address(instance)],
        "indexes": {"byFamilyNameGivenNameEmailCozyUrl": email or instance.domain},
    }
    if email:
        own["email"] = [{"address": email, "primary": True}]
    instance.docs.put(CONTACTS, own)


def _address(instance: Instance) -> dict[str, Any]:
    return {"url": instance.url("").rstrip("/"), "primary": True}
