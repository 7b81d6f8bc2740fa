"""PROPFIND and PROPPATCH of folders and files (RFC 4918, sections 9.1, 9.2, 15; RFC 4331)."""

from collections.abc import Iterator

import pytest

from cozyd.permissions import FILES
from tests.support.client import Client
from tests.support.serving import Served
from tests.support.webdav import MOUNT, D, Device, condition, hrefs, responses, statuses

X, MS, APACHE, OC = "{urn:x}", "{urn:schemas-microsoft-com:}", "{http://apache.org/dav/props/}", "{http://owncloud.org/ns}"
NOTE = '<x:note xmlns:x="urn:x" xml:lang="fr" kind="a&amp;b">\u00e9<x:bold>!</x:bold>t\u00e9</x:note>'


@pytest.fixture(scope="module")
def phone(served: Served) -> Device:
    return Device(Client(served, scope=(FILES,)), "test_webdav_properties")


@pytest.fixture(autouse=True)
def _no_surprise(phone: Device) -> Iterator[None]:
    yield
    assert "Traceback" not in phone.client.served.log()


def named(phone: Device, path: str) -> str:
    """Make a file; its path."""
    assert phone.put(path).status == 201
    return path


def test_the_etag_is_the_same_in_a_listing_and_in_answers(phone: Device):
    etag = phone.put("/etag.txt").etag
    assert etag.startswith('"')
    assert etag.endswith('"')
    found = phone.property("/etag.txt", f"{D}getetag")
    assert found is not None
    assert found.text == etag == phone.get("/etag.txt").etag


def test_an_edit_within_the_second_and_of_the_same_length_changes_the_etag(phone: Device):
    assert len({phone.put("/quick.txt", body).etag for body in (b"one", b"two", b"six")}) == 3


def test_names_alone_are_told_without_values(phone: Device):
    path = named(phone, "/names.txt")
    phone.set(path, NOTE)
    answer = phone.ask("PROPFIND", path, '<propfind xmlns="DAV:"><propname/></propfind>', Depth="0")
    properties = responses(answer)[0].find(f"{D}propstat/{D}prop")
    assert properties is not None
    assert {f"{D}getetag", f"{D}resourcetype", f"{D}lockdiscovery", f"{X}note"} <= {one.tag for one in properties}
    assert not any(one.text or len(one) for one in properties)


def test_a_property_that_is_not_there_is_told_as_such(phone: Device):
    path = named(phone, "/missing.txt")
    body = '<propfind xmlns="DAV:"><prop><getetag/><x xmlns="urn:x"/><quota-used-bytes/></prop></propfind>'
    found = statuses(phone.ask("PROPFIND", path, body, Depth="0"))
    assert found == {f"{D}getetag": 200, f"{X}x": 404, f"{D}quota-used-bytes": 404}


def test_a_whole_tree_is_refused_and_a_file_is_no_tree(phone: Device):
    path = named(phone, "/infinite.txt")
    for headers in ({}, {"Depth": "infinity"}):
        refused = phone.ask("PROPFIND", "/", **headers)
        assert (refused.status, condition(refused)) == (403, "propfind-finite-depth")
        assert phone.ask("PROPFIND", path, **headers).status == 207
    assert phone.ask("PROPFIND", "/", Depth="2").status == 400
    everything = hrefs(phone.ask("PROPFIND", "/", Depth="1"))
    assert hrefs(phone.ask("PROPFIND", "/", Depth="1, noroot")) == everything[1:] != []


@pytest.mark.parametrize(
    "body", ["<propfind", '<other xmlns="DAV:"/>', '<!DOCTYPE a [<!ENTITY b "c">]><propfind xmlns="DAV:">&b;</propfind>']
)
def test_a_listing_with_a_malformed_body_is_a_bad_request(phone: Device, body: str):
    assert phone.ask("PROPFIND", "/", body, Depth="0").status == 400


@pytest.mark.parametrize("inner", ["", '<odd xmlns="urn:x"/>', "<include><getetag/></include>"])
def test_a_listing_that_asks_for_nothing_is_a_bad_request(phone: Device, inner: str):
    assert phone.ask("PROPFIND", "/", f'<propfind xmlns="DAV:">{inner}</propfind>', Depth="0").status == 400


@pytest.mark.parametrize("method", ["PROPFIND", "PROPPATCH", "LOCK"])
def test_a_body_of_many_or_deep_elements_is_refused_at_once(phone: Device, method: str):
    for body, status in (
        (f'<propfind xmlns="DAV:"><prop>{"<a/>" * 300_000}</prop></propfind>', 413),
        (f'<propfind xmlns="DAV:">{"<a>" * 100_000}{"</a>" * 100_000}</propfind>', 400),
    ):
        assert phone.ask(method, "/", body, Depth="0").status == status


def test_names_that_need_care_come_back_as_they_are(phone: Device):
    phone.mkcol("/names")
    names = ["a b", "100%", "a#b", "a?b", "(1)", "\u00e9t\u00e9", "e\u0301", "q&a", "'\"<>", "a+b;c=d,e@f:g~h", "\U0001f600"]
    for name in names:
        assert phone.put(f"/names/{name}").status == 201, name
    assert sorted(phone.names("/names")) == sorted(names)
    found = hrefs(phone.ask("PROPFIND", "/names", Depth="1"))[1:]
    assert any("(1)" in one for one in found)
    assert all(phone.client.dav("GET", one).status == 200 for one in found)


def test_a_name_that_xml_cannot_write_spoils_no_listing(phone: Device):
    phone.mkcol("/odd")
    for name in ("a\x01b.txt", "c\x7fd.txt", "e\ufffef.txt", "g\x1b[0mh.txt"):
        assert phone.put(f"/odd/{name}").status == 201
    found = hrefs(phone.ask("PROPFIND", "/odd", Depth="1"))[1:]
    assert len(found) == 4
    assert all(phone.client.dav("GET", one).body == b"text" for one in found)
    assert all(phone.client.dav("DELETE", one).status == 204 for one in found)


def test_quota_is_told_of_folders(fresh: Served):
    fresh.cli("instances", "set", fresh.domain, "--quota", "1MB")
    phone = Device(Client(fresh), "quota")
    phone.put("/file.bin", bytes(1000))
    used, left = (phone.property("", f"{D}quota-{name}-bytes") for name in ("used", "available"))
    assert used is not None
    assert left is not None
    assert int(used.text or 0) + int(left.text or 0) == 1 << 20
    assert int(used.text or 0) >= 1000
    assert phone.put("/large.bin", bytes((1 << 20) + 1)).status == 507


def test_a_dead_property_is_kept_to_the_letter_and_goes_along(phone: Device):
    path = named(phone, "/dead.txt")
    assert statuses(phone.set(path, NOTE)) == {f"{X}note": 200}

    def check(at: str) -> None:
        note = phone.property(at, f"{X}note")
        assert note is not None, at
        assert (note.text, note[0].tag, note[0].text, note[0].tail) == ("\u00e9", f"{X}bold", "!", "t\u00e9")
        assert note.attrib == {"{http://www.w3.org/XML/1998/namespace}lang": "fr", "kind": "a&b"}

    check(path)
    phone.put(path, b"another content")
    check(path)
    phone.copy(path, "/dead-copy.txt")
    check("/dead-copy.txt")
    phone.move(path, "/dead-moved.txt")
    check("/dead-moved.txt")
    phone.mkcol("/dead")
    phone.move("/dead-moved.txt", "/dead/x.txt")
    phone.copy("/dead", "/dead-too")
    check("/dead-too/x.txt")
    phone.move("/dead", "/dead-renamed")
    check("/dead-renamed/x.txt")
    listed = phone.ask("PROPFIND", "/dead-renamed", Depth="1").body.decode()
    assert listed.count("<ns0:bold") == 1


def test_no_app_sees_what_devices_keep_with_a_file(phone: Device):
    path = named(phone, "/hidden.txt")
    phone.set(path, NOTE)
    answer = phone.client.api("GET", f"/files/metadata?Path=/{phone.folder}{path}")
    assert answer.status == 200
    assert b"urn:x" not in answer.body
    assert b"urn:x" not in phone.client.api("GET", f"/data/{FILES}/_changes?include_docs=true").body


def test_the_language_around_a_property_is_kept_with_it(phone: Device):
    path = named(phone, "/language.txt")
    body = (
        '<propertyupdate xmlns="DAV:" xmlns:x="urn:x" xml:lang="de">'
        '<set><prop><x:outer>eins</x:outer><x:own xml:lang="fr">un</x:own></prop></set>'
        '<set><prop xml:lang="en"><x:inner>one</x:inner></prop></set></propertyupdate>'
    )
    assert phone.ask("PROPPATCH", path, body).status == 207
    found = {name: phone.property(path, f"{{urn:x}}{name}") for name in ("outer", "own", "inner")}
    languages = {name: one.get("{http://www.w3.org/XML/1998/namespace}lang") for name, one in found.items() if one is not None}
    assert languages == {"outer": "de", "own": "fr", "inner": "en"}


def test_a_removed_property_is_gone_and_removing_none_is_fine(phone: Device):
    path = named(phone, "/removed.txt")
    phone.set(path, NOTE)
    body = '<propertyupdate xmlns="DAV:"><remove><prop><note xmlns="urn:x"/><other xmlns="urn:x"/></prop></remove></propertyupdate>'
    assert statuses(phone.ask("PROPPATCH", path, body)) == {f"{X}note": 200, f"{X}other": 200}
    assert phone.property(path, f"{X}note") is None


def test_instructions_are_followed_in_their_order(phone: Device):
    path = named(phone, "/order.txt")
    body = (
        '<propertyupdate xmlns="DAV:" xmlns:x="urn:x"><set><prop><x:a>1</x:a></prop></set><remove><prop><x:a/></prop></remove>'
        "<set><prop><x:a>2</x:a><x:b>3</x:b></prop></set><remove><prop><x:b/></prop></remove></propertyupdate>"
    )
    phone.ask("PROPPATCH", path, body)
    kept = phone.property(path, f"{X}a")
    assert kept is not None
    assert kept.text == "2"
    assert phone.property(path, f"{X}b") is None


@pytest.mark.parametrize("name", ["getetag", "resourcetype", "getcontentlength", "lockdiscovery", "creationdate", "quota-used-bytes"])
def test_what_only_the_server_sets_is_refused_and_takes_the_rest_with_it(phone: Device, name: str):
    path = named(phone, f"/protected-{name}.txt")
    answer = phone.set(path, f"<D:{name}>x</D:{name}>", NOTE)
    assert statuses(answer) == {f"{D}{name}": 403, f"{X}note": 424}
    assert b"cannot-modify-protected-property" in answer.body
    assert phone.property(path, f"{X}note") is None


@pytest.mark.parametrize(
    "body", ["", "<x/>", '<propertyupdate xmlns="DAV:"/>', '<propertyupdate xmlns="DAV:"><set/></propertyupdate>', "<a"]
)
def test_a_proppatch_without_instructions_is_a_bad_request(phone: Device, body: str):
    assert phone.ask("PROPPATCH", "/", body).status == 400


def test_properties_are_not_without_measure(phone: Device):
    path = named(phone, "/large.txt")
    assert phone.set(path, f'<x xmlns="urn:x">{"x" * 70_000}</x>').status == 507
    assert phone.property(path, f"{X}x") is None


def test_windows_sets_times_and_attributes(phone: Device):
    path = named(phone, "/win.txt")
    values = {
        "Win32CreationTime": "Mon, 02 Jan 2023 03:04:05 GMT",
        "Win32LastAccessTime": "Mon, 02 Jan 2023 03:04:05 GMT",
        "Win32LastModifiedTime": "Tue, 03 Jan 2023 04:05:06 GMT",
        "Win32FileAttributes": "00000020",
    }
    answer = phone.set(path, *(f'<Z:{name} xmlns:Z="urn:schemas-microsoft-com:">{value}</Z:{name}>' for name, value in values.items()))
    assert set(statuses(answer).values()) == {200}
    assert phone.get(path).headers["Last-Modified"] == "Tue, 03 Jan 2023 04:05:06 GMT"
    kept = phone.property(path, f"{MS}Win32FileAttributes")
    assert kept is not None
    assert kept.text == "00000020"


@pytest.mark.parametrize("value", ["1700000000", "1700000000.75", "Tue, 14 Nov 2023 22:13:20 GMT"])
def test_the_time_of_a_file_is_carried_over(phone: Device, value: str):
    path = named(phone, f"/time-{len(value)}.txt")
    name = "getlastmodified" if "GMT" in value else "lastmodified"
    assert statuses(phone.set(path, f"<D:{name}>{value}</D:{name}>")) == {f"{D}{name}": 200}
    assert phone.get(path).headers["Last-Modified"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert statuses(phone.set(path, f"<D:{name}>then</D:{name}>")) == {f"{D}{name}": 409}


def test_executable_is_set_as_davfs2_and_cadaver_do(phone: Device):
    path = named(phone, "/run.sh")
    phone.mkcol("/bin")
    element = '<A:executable xmlns:A="http://apache.org/dav/props/">{}</A:executable>'
    for value in ("T", "F"):
        assert statuses(phone.set(path, element.format(value))) == {f"{APACHE}executable": 200}
        found = phone.property(path, f"{APACHE}executable")
        assert found is not None
        assert found.text == value
    assert statuses(phone.set("/bin", element.format("T"))) == {f"{APACHE}executable": 403}


def test_the_root_keeps_properties_too(phone: Device):
    body = '<propertyupdate xmlns="DAV:"><set><prop><x xmlns="urn:root">1</x></prop></set></propertyupdate>'
    answer = phone.client.dav("PROPPATCH", f"{MOUNT}/", body)
    assert (answer.status, statuses(answer)) == (207, {"{urn:root}x": 200})


def test_two_people_never_share_properties(served: Served, phone: Device):
    path = named(phone, "/mine.txt")
    phone.set(path, NOTE)
    bob = Device(Client(served, domain=f"bob.localhost:{served.port}"), phone.folder)
    bob.put(path)
    assert bob.property(path, f"{X}note") is None


def test_checksums_are_told_to_those_who_ask(phone: Device):
    path = named(phone, "/sum.txt")
    found = phone.property(path, f"{OC}checksums")
    assert found is not None
    assert found.findtext(f"{OC}checksum") == "MD5:1cb251ec0d568de6a929b520c4aed8d1"


def test_all_and_more(phone: Device):
    path = named(phone, "/more.txt")
    body = f'<propfind xmlns="DAV:"><allprop/><include><oc:checksums xmlns:oc="{OC.strip("{}")}"/></include></propfind>'
    found = statuses(phone.ask("PROPFIND", path, body, Depth="0"))
    assert (found[f"{D}getetag"], found[f"{OC}checksums"]) == (200, 200)
