"""What a new instance has: databases, indexes, settings, the owner's own contact, the first folders.

The order is the reference's (docs/http/instances.md): official lists rely on it.
"""

from cozyd.auth import BITWARDEN, passwords
from cozyd.documents import Documents
from cozyd.instance import Instance

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


def plant(instance: Instance, *, email: str, public_name: str) -> None:
    """Fill an empty tenant.

    :param email: the owner's address, empty when unknown.
    :param public_name: how others see her.
    """
    docs = instance.docs
    for doctype in DATABASES:
        docs.make(doctype)
    _indexes(docs)
    _settings(docs, email, public_name)
    _own_contact(instance, email, public_name)
    instance.files.seed(str(instance.doc.get("locale", "en")))


def _indexes(docs: Documents) -> None:
    for doctype, table in docs.table.items():
        for index in table.indexes:
            docs.index(doctype, index.fields, name=index.name, ddoc=index.name)
    view = {"map": CONTACTS_BY_EMAIL}
    docs.put(CONTACTS, {"_id": "_design/contacts-by-email", "language": "javascript", "views": {"contacts-by-email": view}})


def _settings(docs: Documents, email: str, public_name: str) -> None:
    settings = {"public_name": public_name, "email": email}
    docs.put("io.cozy.settings", {"_id": "io.cozy.settings.instance"} | {name: value for name, value in settings.items() if value})
    docs.put(BITWARDEN.doctype, {"_id": BITWARDEN.id, "passphrase_kdf_iterations": passwords.ITERATIONS})


def _own_contact(instance: Instance, email: str, public_name: str) -> None:
    own = {
        "me": True,
        "fullname": public_name,
        "displayName": public_name,
        "cozy": [{"url": instance.url("").rstrip("/"), "primary": True}],
        "indexes": {"byFamilyNameGivenNameEmailCozyUrl": email or instance.domain},
    }
    if email:
        own["email"] = [{"address": email, "primary": True}]
    instance.docs.put(CONTACTS, own)
