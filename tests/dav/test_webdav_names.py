"""MKCOL, DELETE, COPY and MOVE (RFC 4918, sections 9.3, 9.6, 9.8, 9.9): names and places, each in one step."""

from collections.abc import Iterator

import pytest

from cozyd.permissions import FILES
from tests.support.client import Client
from tests.support.serving import Served
from tests.support.webdav import MOUNT, Device


@pytest.fixture(scope="module")
def phone(served: Served) -> Device:
    return Device(Client(served, scope=(FILES,)), "test_webdav_names")


@pytest.fixture(autouse=True)
def _no_surprise(phone: Device) -> Iterator[None]:
    yield
    assert "Traceback" not in phone.client.served.log()


def tree(phone: Device, top: str) -> None:
    """A folder with a file and a folder with a file."""
    for path in (top, f"{top}/inner"):
        assert phone.mkcol(path).status == 201
    for path in (f"{top}/a.txt", f"{top}/inner/b.txt"):
        assert phone.put(path, path.encode()).status == 201


# -- MKCOL --------------------------------------------------------------------------------------------------------------


def test_folders_are_made_one_by_one(phone: Device):
    assert phone.mkcol("/made").status == 201
    again = phone.mkcol("/made")
    assert (again.status, "PROPFIND" in again.headers["Allow"], "MKCOL" in again.headers["Allow"]) == (405, True, False)
    assert phone.mkcol("/none/made").status == 409
    phone.put("/file.txt")
    assert phone.mkcol("/file.txt").status == 405
    assert phone.mkcol("/file.txt/made").status == 409
    assert phone.ask("MKCOL", "/body", b"<x/>").status == 415
    assert phone.mkcol("/" + "x" * 256).status == 400


# -- DELETE -------------------------------------------------------------------------------------------------------------


def test_what_is_deleted_is_in_the_trash_with_all_below(phone: Device):
    tree(phone, "/deleted")
    folder = phone.client.api("GET", f"/files/metadata?Path=/{phone.folder}/deleted").json["data"]["id"]
    assert phone.ask("DELETE", "/deleted").status == 204
    assert phone.get("/deleted/inner/b.txt").status == 404
    assert phone.ask("DELETE", "/deleted").status == 404
    trashed = phone.client.api("GET", f"/files/{folder}").json["data"]["attributes"]
    assert trashed["path"].startswith("/.cozy_trash/")
    assert phone.client.api("POST", f"/files/trash/{folder}").status == 200
    assert phone.get("/deleted/inner/b.txt").body == b"/deleted/inner/b.txt"


def test_a_folder_is_not_deleted_in_part(phone: Device):
    tree(phone, "/part")
    assert phone.ask("DELETE", "/part", Depth="0").status == 400
    assert phone.ask("DELETE", "/part", Depth="infinity").status == 204


def test_the_root_stays_where_it_is(phone: Device):
    assert phone.client.dav("DELETE", f"{MOUNT}/").status == 403
    assert phone.client.dav("MOVE", f"{MOUNT}/", Destination=f"{MOUNT}/x").status == 403
    assert phone.client.dav("COPY", f"{MOUNT}/", Destination=f"{MOUNT}/x").status == 403


def test_a_target_with_a_fragment_deletes_nothing(phone: Device):
    tree(phone, "/fragment")
    assert phone.client.dav("DELETE", f"{phone.base}/fragment#inner").status == 400
    assert phone.get("/fragment/a.txt").status == 200


# -- MOVE ---------------------------------------------------------------------------------------------------------------


def test_a_move_is_one_step_whatever_lies_below(phone: Device):
    tree(phone, "/moving")
    phone.mkcol("/there")
    id = phone.client.api("GET", f"/files/metadata?Path=/{phone.folder}/moving").json["data"]["id"]
    assert phone.move("/moving", "/there/moved").status == 201
    assert phone.get("/there/moved/inner/b.txt").body == b"/moving/inner/b.txt"
    assert phone.get("/moving").status == 404
    assert phone.client.api("GET", f"/files/metadata?Path=/{phone.folder}/there/moved").json["data"]["id"] == id


def test_a_move_over_a_file_replaces_it_in_the_same_step_and_the_old_one_is_in_the_trash(phone: Device):
    old = phone.put("/target.txt", b"old").headers["OC-FileId"]
    phone.put("/source.txt", b"new")
    with phone.client.watch(FILES) as watch:
        assert phone.move("/source.txt", "/target.txt").status == 204
        events = [watch.next(), watch.next()]
        assert watch.quiet()
    assert phone.get("/target.txt").body == b"new"
    assert phone.get("/source.txt").status == 404
    assert {event["event"] for event in events} == {"UPDATED"}
    assert phone.client.api("GET", f"/files/{old}").json["data"]["attributes"]["trashed"] is True


def test_nothing_is_replaced_against_the_client_s_will(phone: Device):
    phone.put("/keep.txt", b"keep")
    phone.put("/other.txt", b"other")
    assert phone.move("/other.txt", "/keep.txt", Overwrite="F").status == 412
    assert phone.copy("/other.txt", "/keep.txt", Overwrite="F").status == 412
    assert phone.get("/keep.txt").body == b"keep"
    assert phone.get("/other.txt").body == b"other"
    assert phone.copy("/other.txt", "/free.txt", Overwrite="F").status == 201
    assert phone.move("/other.txt", "/keep.txt", Overwrite="X").status == 400


@pytest.mark.parametrize("method", ["COPY", "MOVE"])
@pytest.mark.parametrize("to", ["/self", "/self/below", "/self/below/deeper"])
def test_nothing_is_put_onto_or_into_itself(phone: Device, method: str, to: str):
    phone.mkcol("/self")
    phone.mkcol("/self/below")
    assert phone.ask(method, "/self", Destination=phone.url(to)).status == 403
    assert phone.get("/self/below").status == 200


@pytest.mark.parametrize("method", ["COPY", "MOVE"])
def test_nothing_replaces_the_folder_that_it_is_in(phone: Device, method: str):
    phone.mkcol("/outer")
    phone.mkcol("/outer/inner")
    phone.put("/outer/inner/deep.txt", b"deep")
    for name in ("/outer/inner", "/outer/inner/deep.txt"):
        assert phone.ask(method, name, Destination=phone.url("/outer")).status == 403
        assert phone.ask(method, name, Destination=phone.url("/outer"), Overwrite="F").status == 412
    assert phone.get("/outer/inner/deep.txt").body == b"deep"


@pytest.mark.parametrize("method", ["COPY", "MOVE"])
def test_a_destination_has_to_be_ours_and_to_have_a_folder(phone: Device, method: str):
    phone.put("/going.txt")
    for destination, status in (
        (phone.url("/none/going.txt"), 409),
        ("http://elsewhere.example/sync/files/x.txt", 502),
        (f"http://{phone.client.host}/other/x.txt", 502),
        (f"{MOUNT}/../x.txt", 400),
        ("http://[", 502),
        (f"{phone.base}/%FF", 502),
        ("", 400),
    ):
        assert phone.ask(method, "/going.txt", Destination=destination).status == status, destination
    assert phone.ask(method, "/going.txt").status == 400
    assert phone.ask(method, "/not-there.txt", Destination=phone.url("/x.txt")).status == 404
    assert phone.get("/going.txt").status == 200


@pytest.mark.parametrize("form", ["http://{host}{path}", "https://{host}{path}", "{path}", "http://localhost:{port}{path}"])
def test_a_destination_is_understood_in_each_form_that_clients_use(phone: Device, form: str):
    phone.put("/form.txt")
    destination = form.format(host=phone.client.host, path=phone.at("/form moved.txt"), port=phone.client.served.port)
    assert phone.ask("MOVE", "/form.txt", Destination=destination).status in (201, 204)
    assert phone.get("/form moved.txt").status == 200


@pytest.mark.parametrize(
    "name", ["a?b.txt", "a#b.txt", "100%.txt", "%3F.txt", "a;b=c.txt", "a+b.txt", "\u00e9\u00e0.txt", "(1) [2].txt", "&<>'\".txt"]
)
def test_names_that_need_care_are_moved_and_copied(phone: Device, name: str):
    phone.put("/plain.txt", name.encode())
    assert phone.move("/plain.txt", f"/{name}").status == 201
    assert phone.copy(f"/{name}", f"/copy of {name}").status == 201
    assert phone.get(f"/copy of {name}").body == name.encode()
    assert {name, f"copy of {name}"} <= set(phone.names())
    assert phone.get("/plain.txt").status == 404


def test_a_destination_that_is_not_quoted_is_understood(phone: Device):
    phone.put("/quoted.txt")
    raw = f"{phone.base}/pas cit\u00e9.txt".encode().decode("latin-1")
    assert phone.ask("MOVE", "/quoted.txt", Destination=raw).status == 201
    assert "pas cit\u00e9.txt" in phone.names()


def test_a_name_may_change_its_case_and_its_accents(phone: Device):
    phone.put("/name.txt")
    assert phone.move("/name.txt", "/NAME.txt").status == 201
    assert "NAME.txt" in phone.names()
    phone.put("/caf\u00e9.txt")
    assert phone.get("/cafe\u0301.txt").status == 200
    assert phone.put("/cafe\u0301.txt", b"same").status == 204
    assert [name for name in phone.names() if name.startswith("caf")] == ["caf\u00e9.txt"]


# -- COPY ---------------------------------------------------------------------------------------------------------------


def test_a_folder_is_copied_with_all_below_or_alone(phone: Device):
    tree(phone, "/original")
    assert phone.copy("/original", "/whole").status == 201
    assert phone.get("/whole/inner/b.txt").body == b"/original/inner/b.txt"
    assert phone.copy("/original", "/alone", Depth="0").status == 201
    assert phone.names("/alone") == []
    assert phone.copy("/original", "/x", Depth="1").status == 400
    assert phone.get("/original/inner/b.txt").status == 200


def test_a_copy_over_a_folder_replaces_it_whole(phone: Device):
    tree(phone, "/one")
    phone.mkcol("/two")
    phone.put("/two/only-here.txt")
    assert phone.copy("/one", "/two").status == 204
    assert phone.names("/two") == ["inner", "a.txt"]


def test_a_copy_lives_on_its_own(phone: Device):
    phone.put("/first.txt", b"first")
    phone.copy("/first.txt", "/second.txt")
    phone.put("/first.txt", b"changed")
    phone.ask("DELETE", "/first.txt")
    assert phone.get("/second.txt").body == b"first"


def test_a_copy_that_does_not_fit_is_refused_whole(fresh: Served):
    fresh.cli("instances", "set", fresh.domain, "--quota", "1MB")
    phone = Device(Client(fresh), "quota")
    phone.mkcol("/folder")
    for name in "abc":
        phone.put(f"/folder/{name}.bin", bytes(200_000))
    assert phone.copy("/folder", "/copied").status == 507
    assert phone.names() == ["folder"]


# -- rights and methods -------------------------------------------------------------------------------------------------


def test_a_password_that_only_reads_changes_nothing(served: Served, phone: Device):
    phone.put("/readable.txt")
    reader = Device(Client(served), phone.folder)
    reader.client.password = served.password("--files", "--read-only", name="reader")
    assert reader.get("/readable.txt").status == 200
    assert reader.names()
    for answer in (
        reader.put("/new.txt"),
        reader.ask("DELETE", "/readable.txt"),
        reader.mkcol("/new"),
        reader.move("/readable.txt", "/x.txt"),
        reader.copy("/readable.txt", "/x.txt"),
        reader.set("/readable.txt", '<x xmlns="urn:x"/>'),
        reader.lock("/readable.txt"),
    ):
        assert answer.status == 403
        assert b"need-privileges" in answer.body


def test_a_password_for_contacts_sees_no_files(served: Served, phone: Device):
    stranger = Client(served)
    stranger.password = served.password("--contacts", name="contacts only")
    assert stranger.dav("PROPFIND", f"{MOUNT}/", Depth="1").status == 403
    stranger.password = "wrong"
    refused = stranger.dav("PROPFIND", f"{MOUNT}/", Depth="1")
    assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, 'Basic realm="cozyd", charset="UTF-8"')


@pytest.mark.parametrize("credentials", ["é", "YQ=", "/w==", ""])
def test_credentials_that_are_none_are_asked_for(phone: Device, credentials: str):
    answer = phone.client.ask("PROPFIND", phone.at("/"), Authorization=f"Basic {credentials}", Depth="0")
    assert (answer.status, answer.headers["WWW-Authenticate"].partition(" ")[0]) == (401, "Basic")


@pytest.mark.parametrize("path", [f"{MOUNT}/", "/sync/", "/"])
def test_options_are_told_without_a_password(phone: Device, path: str):
    answer = phone.client.ask("OPTIONS", path)
    assert answer.status == 200
    assert {"1", "2"} <= {one.strip() for one in answer.headers["DAV"].split(",")}
    assert answer.headers["MS-Author-Via"] == "DAV"


def test_the_mount_is_of_class_3(phone: Device):
    assert phone.ask("OPTIONS", "/").headers["DAV"] == "1, 2, 3"


@pytest.mark.parametrize("path", ["/sync/", "/"])
def test_the_folders_above_the_mount_are_listed_for_windows(phone: Device, path: str):
    answer = phone.client.dav("PROPFIND", path, Depth="1")
    assert answer.status == 207


@pytest.mark.parametrize("method", ["PATCH", "POST", "REPORT", "SEARCH", "BREW"])
def test_a_method_that_is_not_there_is_told_with_those_that_are(phone: Device, method: str):
    answer = phone.ask(method, "/")
    assert (answer.status, "PROPFIND" in answer.headers["Allow"]) == (405, True)


def test_a_path_that_is_no_text_is_a_bad_request(phone: Device):
    assert phone.client.dav("GET", f"{MOUNT}/%FF.txt").status == 400
    assert phone.client.dav("GET", f"{MOUNT}/a%00b").status == 400


def test_another_spelling_of_a_name_is_the_same_place(phone: Device):
    phone.mkcol("/caf\u00e9-here")
    for to in ("/cafe\u0301-here", "/cafe\u0301-here/below"):
        assert (phone.move("/caf\u00e9-here", to).status, phone.copy("/caf\u00e9-here", to).status) == (403, 403)
    assert phone.names("/caf\u00e9-here") == []
