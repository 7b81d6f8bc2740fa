"""What Evolution asks of its data server, without a window: events and cards are made, changed and removed, and changes of others come.

    dbus-run-session -- /usr/bin/python3 flow.py BASE PASSWORD

It prints one JSON object: what the data server had after each step. Debian's python3-gi and gir1.2-ecal-2.0, gir1.2-ebook-1.2.
"""

import base64
import json
import sys
import time
import urllib.request

import gi

for name, version in (("ECal", "2.0"), ("EBook", "1.2"), ("EBookContacts", "1.2"), ("EDataServer", "1.2"), ("ICalGLib", "3.0")):
    gi.require_version(name, version)
from gi.repository import EBook, EBookContacts, ECal, EDataServer, GLib, ICalGLib  # noqa: E402

CALENDAR, BOOK = "/sync/dav/me/calendar/", "/sync/dav/me/contacts/"
EVENT = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//other//EN\r\nBEGIN:VEVENT\r\nUID:{uid}\r\nDTSTAMP:20260101T000000Z\r\n"
    "DTSTART:20260310T090000Z\r\nDTEND:20260310T100000Z\r\nSUMMARY:{summary}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)
CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nFN:{name}\r\nN:{name};;;;\r\nEND:VCARD\r\n"


class Evolution:
    """The data server, with an account on one server."""

    def __init__(self, base, password):
        self.base, self.password = base, password
        self.registry = EDataServer.SourceRegistry.new_sync(None)

    def source(self, name, kind, backend, path):
        """Add an account's calendar or book."""
        source = EDataServer.Source.new_with_uid(name, None)
        source.set_display_name(name)
        source.set_parent(f"{backend}-stub")
        source.get_extension(kind).set_backend_name(backend)
        auth = source.get_extension(EDataServer.SOURCE_EXTENSION_AUTHENTICATION)
        auth.set_host("localhost")
        auth.set_port(int(self.base.rpartition(":")[2]))
        auth.set_user("me")
        auth.set_method("plain/password")
        source.get_extension(EDataServer.SOURCE_EXTENSION_WEBDAV_BACKEND).set_resource_path(path)
        source.get_extension(EDataServer.SOURCE_EXTENSION_SECURITY).set_method("none")
        self.registry.commit_source_sync(source, None)
        found = self.registry.ref_source(name)
        found.connect("credentials-required", self._log_in)
        return found

    def _log_in(self, source, *_):
        given = EDataServer.NamedParameters.new()
        given.set("username", "me")
        given.set("password", self.password)
        source.invoke_authenticate(given, None, lambda *_: None)

    def other(self, method, path, body=""):
        """A request of another device; the answer's body."""
        request = urllib.request.Request(self.base + path, body.encode() or None, method=method)
        request.add_header("Authorization", "Basic " + base64.b64encode(f"me:{self.password}".encode()).decode())
        if body:
            request.add_header("Content-Type", "text/vcard" if path.endswith(".vcf") else "text/calendar")
        with urllib.request.urlopen(request) as answer:
            return answer.read().decode()


def eventually(holds):
    """Let the data server's signals come until something holds; whether it does within 20 seconds."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        while GLib.MainContext.default().iteration(False):
            pass
        if holds():
            return True
        time.sleep(0.1)
    return False


def calendar(evolution):
    """Events by Evolution and by another device."""
    source = evolution.source("calendar", EDataServer.SOURCE_EXTENSION_CALENDAR, "caldav", CALENDAR)
    client = ECal.Client.connect_sync(source, ECal.ClientSourceType.EVENTS, 1, None)

    def summaries():
        return {one.get_uid(): one.get_summary() for one in client.get_object_list_sync("#t", None)[1]}

    eventually(client.is_online)
    made = ICalGLib.Component.new_from_string(
        EVENT.format(uid="evo", summary="made here").split("PRODID:-//other//EN\r\n")[1].removesuffix("END:VCALENDAR\r\n")
    )
    uid = client.create_object_sync(made, ECal.OperationFlags.NONE, None)[1]
    evolution.other("PUT", CALENDAR + "phone.ics", EVENT.format(uid="phone", summary="by a phone"))
    client.refresh_sync(None)
    found = {"readonly": client.is_readonly(), "from the phone": eventually(lambda: summaries().get("phone") == "by a phone")}
    changed = client.get_object_sync("phone", None, None)[1]
    changed.set_summary("changed by Evolution")
    client.modify_object_sync(changed, ECal.ObjModType.ALL, ECal.OperationFlags.NONE, None)
    found["changed"] = "SUMMARY:changed by Evolution" in evolution.other("GET", CALENDAR + "phone.ics")
    found["made"] = "SUMMARY:made here" in evolution.other("GET", CALENDAR)
    client.remove_object_sync(uid, None, ECal.ObjModType.ALL, ECal.OperationFlags.NONE, None)
    found["removed"] = "SUMMARY:made here" not in evolution.other("GET", CALENDAR)
    evolution.other("DELETE", CALENDAR + "phone.ics")
    client.refresh_sync(None)
    found["removed by the phone"] = eventually(lambda: "phone" not in summaries())
    return found


def book(evolution):
    """Cards, the same."""
    source = evolution.source("book", EDataServer.SOURCE_EXTENSION_ADDRESS_BOOK, "carddav", BOOK)
    client = EBook.BookClient.connect_sync(source, 1, None)
    everybody = EBookContacts.BookQuery.any_field_contains("").to_string()

    def names():
        return {one.get_property("id"): one.get_property("full-name") for one in client.get_contacts_sync(everybody, None)[1]}

    eventually(client.is_online)
    contact = EBookContacts.Contact.new_from_vcard(CARD.format(uid="evo-card", name="Ada"))
    uid = client.add_contact_sync(contact, EBookContacts.BookOperationFlags.NONE, None)[1]
    evolution.other("PUT", BOOK + "phone.vcf", CARD.format(uid="phone-card", name="Marie"))
    client.refresh_sync(None)
    found = {"readonly": client.is_readonly(), "from the phone": eventually(lambda: "Marie" in names().values())}
    found["made"] = "FN:Ada" in evolution.other("GET", BOOK)
    client.remove_contact_by_uid_sync(uid, EBookContacts.BookOperationFlags.NONE, None)
    found["removed"] = "FN:Ada" not in evolution.other("GET", BOOK)
    evolution.other("DELETE", BOOK + "phone.vcf")
    client.refresh_sync(None)
    found["removed by the phone"] = eventually(lambda: "Marie" not in names().values())
    return found


if __name__ == "__main__":
    account = Evolution(*sys.argv[1:])
    print(json.dumps({"calendar": calendar(account), "book": book(account)}))
