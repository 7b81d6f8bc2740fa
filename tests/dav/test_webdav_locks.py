"""WebDAV locks as clients use them (RFC 4918, sections 6, 7, 9.10, 9.11): whom they stop, when they end, whose they are."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from cozyd.documents import Documents
from cozyd.errors import StorageFull
from cozyd.permissions import FILES
from dav.locks import MOST, LockBook
from tests.support.client import Client
from tests.support.serving import Served
from tests.support.stack import Clock, open_stack
from tests.support.webdav import LOCK, MOUNT, D, Device, condition, responses


@pytest.fixture(scope="module")
def phone(served: Served) -> Device:
    return Device(Client(served, scope=(FILES,)), "test_webdav_locks")


@pytest.fixture(scope="module")
def laptop(phone: Device) -> Device:
    return phone.another()


@pytest.fixture(autouse=True)
def _no_surprise(phone: Device) -> Iterator[None]:
    yield
    assert "Traceback" not in phone.client.served.log()


def test_a_locked_file_is_written_with_its_token_by_the_device_that_has_it_and_no_other(phone: Device, laptop: Device):
    phone.put("/one.txt")
    token = phone.token("/one.txt")
    for device in (phone, laptop):
        refused = device.put("/one.txt", b"other")
        assert (refused.status, condition(refused)) == (423, "lock-token-submitted")
        assert phone.at("/one.txt") in refused.body.decode()
    assert laptop.put("/one.txt", b"stolen", If=f"({token})").status == 423
    assert phone.put("/one.txt", b"mine", If=f"({token})").status == 204
    assert laptop.get("/one.txt").body == b"mine"
    assert phone.ask("UNLOCK", "/one.txt", Lock_Token=token).status == 204
    assert laptop.put("/one.txt", b"free").status == 204


@pytest.mark.parametrize("method", ["PUT", "DELETE", "MOVE", "PROPPATCH", "COPY"])
def test_every_way_to_change_a_locked_file_is_stopped(phone: Device, laptop: Device, method: str):
    name = f"/every-{method}.txt"
    phone.put(name)
    phone.put("/source.txt", b"source")
    phone.token(name)
    if method == "COPY":
        answer = laptop.copy("/source.txt", name)
    elif method == "MOVE":
        answer = laptop.move(name, "/elsewhere.txt")
    elif method == "PROPPATCH":
        answer = laptop.set(name, '<x xmlns="urn:x">1</x>')
    else:
        answer = laptop.ask(method, name, b"x" if method == "PUT" else None)
    assert answer.status == 423
    assert laptop.get(name).body == b"text"
    assert laptop.copy(name, f"/copied-{method}.txt").status == 201


def test_a_locked_child_stops_its_parent_s_deletion_and_move_and_the_token_lets_them_through(phone: Device, laptop: Device):
    for folder in ("/tree", "/tree/below"):
        phone.mkcol(folder)
    phone.put("/tree/below/leaf.txt")
    token = phone.token("/tree/below/leaf.txt")
    for answer in (laptop.ask("DELETE", "/tree"), laptop.move("/tree", "/moved"), phone.ask("DELETE", "/tree")):
        assert (answer.status, condition(answer)) == (423, "lock-token-submitted")
        assert phone.at("/tree/below/leaf.txt") in answer.body.decode()
    assert phone.get("/tree/below/leaf.txt").status == 200
    submitted = f"<{phone.url('/tree/below/leaf.txt')}> ({token})"
    assert phone.move("/tree", "/moved", If=submitted).status == 201
    assert laptop.put("/moved/below/leaf.txt", b"free").status == 204


def test_a_lock_goes_with_what_it_was_taken_on(phone: Device, laptop: Device):
    phone.put("/gone.txt")
    token = phone.token("/gone.txt")
    assert phone.ask("DELETE", "/gone.txt", If=f"({token})").status == 204
    assert laptop.put("/gone.txt", b"new").status == 201
    assert laptop.put("/gone.txt", b"again").status == 204


def test_a_lock_is_not_copied(phone: Device, laptop: Device):
    phone.put("/original.txt")
    phone.token("/original.txt")
    assert laptop.copy("/original.txt", "/duplicate.txt").status == 201
    assert laptop.put("/duplicate.txt", b"x").status == 204


def test_a_folder_locked_with_depth_infinity_protects_all_below(phone: Device, laptop: Device):
    phone.mkcol("/deep")
    phone.mkcol("/deep/inner")
    token = phone.token("/deep")
    assert laptop.put("/deep/inner/new.txt").status == 423
    assert laptop.mkcol("/deep/inner/more").status == 423
    assert laptop.lock("/deep/inner").status == 423
    assert phone.put("/deep/inner/new.txt", If=f"<{phone.url('/deep')}> ({token})").status == 201
    discovered = laptop.property("/deep/inner/new.txt", f"{D}lockdiscovery")
    assert discovered is not None
    assert discovered.findtext(f".//{D}lockroot/{D}href") == phone.at("/deep/")


def test_a_folder_locked_with_depth_0_keeps_its_list_of_names(phone: Device, laptop: Device):
    phone.mkcol("/flat")
    phone.put("/flat/known.txt")
    phone.token("/flat", Depth="0")
    assert laptop.put("/flat/new.txt").status == 423
    assert laptop.ask("DELETE", "/flat/known.txt").status == 423
    assert laptop.move("/flat/known.txt", "/out.txt").status == 423
    assert laptop.put("/flat/known.txt", b"changed").status == 204


def test_a_lock_on_a_free_name_makes_an_empty_file(phone: Device, laptop: Device):
    answer = phone.lock("/reserved.txt")
    assert answer.status == 201
    assert (laptop.get("/reserved.txt").status, laptop.get("/reserved.txt").body) == (200, b"")
    assert laptop.put("/reserved.txt", b"x").status == 423
    assert phone.put("/reserved.txt", b"x", If=f"({answer.headers['Lock-Token']})").status == 204
    assert phone.lock("/nowhere/name.txt").status == 409
    assert phone.get("/nowhere/name.txt").status == 404


def test_a_lock_that_is_refused_makes_nothing(phone: Device, laptop: Device):
    phone.mkcol("/guarded")
    phone.token("/guarded")
    assert laptop.lock("/guarded/new.txt").status == 423
    assert phone.names("/guarded") == []


def test_exclusive_locks_are_alone_and_shared_ones_go_together(phone: Device, laptop: Device):
    phone.put("/shared.txt")
    first, second = phone.token("/shared.txt", scope="shared"), laptop.token("/shared.txt", scope="shared")
    refused = laptop.lock("/shared.txt")
    assert (refused.status, condition(refused)) == (423, "no-conflicting-lock")
    assert phone.put("/shared.txt", If=f"({first})").status == 204
    assert laptop.put("/shared.txt", If=f"({second})").status == 204
    assert Device(Client(phone.client.served), phone.folder).put("/shared.txt").status == 423
    phone.put("/alone.txt")
    phone.token("/alone.txt")
    assert laptop.lock("/alone.txt", scope="shared").status == 423


def test_a_folder_is_not_locked_deep_over_a_lock_below(phone: Device, laptop: Device):
    phone.mkcol("/above")
    phone.put("/above/below.txt")
    phone.token("/above/below.txt")
    refused = laptop.lock("/above")
    assert refused.status == 207
    told = {one.findtext(f"{D}href", ""): one.findtext(f"{D}status", "") for one in responses(refused)}
    assert told == {
        laptop.at("/above/below.txt"): "HTTP/1.1 423 Locked",
        laptop.at("/above") + "/": "HTTP/1.1 424 Failed Dependency",
    }
    assert laptop.put("/above/other.txt").status == 201
    assert laptop.lock("/above", Depth="0").status == 200


def test_what_a_lock_says_of_itself(phone: Device):
    phone.put("/told.txt")
    answer = phone.lock("/told.txt", Timeout="Infinite, Second-4100000000")
    token = answer.headers["Lock-Token"].strip("<>")
    for body in (answer.body, phone.ask("PROPFIND", "/told.txt", Depth="0").body):
        text = body.decode()
        assert token in text
        assert "mailto:me@example.org" in text
        assert "<D:exclusive/>" in text
        assert f"<D:lockroot><D:href>{phone.at('/told.txt')}</D:href></D:lockroot>" in text


@pytest.mark.parametrize(
    ("wish", "least", "most"),
    [
        ("", 590, 600),
        ("Second-120", 110, 120),
        ("Infinite", 3590, 3600),
        ("Second-9999999", 3590, 3600),
        ("x, Second-60", 50, 60),
        ("Second-0", 590, 600),
        ("nonsense", 590, 600),
    ],
)
def test_a_lock_lives_as_long_as_asked_and_an_hour_at_most(phone: Device, wish: str, least: int, most: int):
    name = f"/time {wish}.txt"
    answer = phone.lock(name, **({"Timeout": wish} if wish else {}))
    seconds = int(answer.body.decode().partition("Second-")[2].partition("<")[0])
    assert least <= seconds <= most


def test_a_lock_is_refreshed_by_its_token(phone: Device, laptop: Device):
    phone.put("/fresh.txt")
    token = phone.token("/fresh.txt", Timeout="Second-60")
    refreshed = phone.ask("LOCK", "/fresh.txt", If=f"({token})", Timeout="Second-1800")
    assert refreshed.status == 200
    assert "Lock-Token" not in refreshed.headers
    assert int(refreshed.body.decode().partition("Second-")[2].partition("<")[0]) > 1700
    assert phone.ask("LOCK", "/fresh.txt").status == 400
    assert phone.ask("LOCK", "/fresh.txt", If="(<urn:uuid:none>)").status == 412
    assert laptop.ask("LOCK", "/fresh.txt", If=f"({token})").status == 412


def test_a_lock_is_given_back_by_its_device_alone(phone: Device, laptop: Device):
    phone.put("/back.txt")
    token = phone.token("/back.txt")
    assert laptop.ask("UNLOCK", "/back.txt", Lock_Token=token).status == 403
    wrong = phone.ask("UNLOCK", "/back.txt", Lock_Token="<urn:uuid:none>")
    assert (wrong.status, condition(wrong)) == (409, "lock-token-matches-request-uri")
    assert phone.ask("UNLOCK", "/back.txt").status == 400
    assert phone.ask("UNLOCK", "/not-there.txt", Lock_Token="<urn:uuid:none>").status == 404
    assert phone.ask("UNLOCK", "/back.txt", Lock_Token=token).status == 204
    assert phone.ask("UNLOCK", "/back.txt", Lock_Token=token).status == 409


@pytest.mark.parametrize(
    "body",
    [
        "<lockinfo",
        "<other xmlns='DAV:'/>",
        "<lockinfo xmlns='DAV:'><lockscope><exclusive/></lockscope></lockinfo>",
        "<lockinfo xmlns='DAV:'><lockscope><other/></lockscope><locktype><write/></locktype></lockinfo>",
        "<lockinfo xmlns='DAV:'><lockscope><exclusive/></lockscope><locktype><read/></locktype></lockinfo>",
        '<!DOCTYPE x [<!ENTITY a "b">]><lockinfo xmlns="DAV:"><owner>&a;</owner></lockinfo>',
        LOCK.format(scope="exclusive").replace("mailto:", "x" * 3000),
    ],
)
def test_a_lock_that_does_not_exist_is_a_bad_request(phone: Device, body: str):
    assert phone.ask("LOCK", "/bad.txt", body).status == 400
    assert phone.get("/bad.txt").status == 404


def test_a_lock_of_depth_1_does_not_exist(phone: Device):
    assert phone.lock("/bad.txt", Depth="1").status == 400


def test_a_condition_on_a_lock_or_etag_that_does_not_hold_stops_any_method(phone: Device):
    etag = phone.put("/conditional.txt").etag
    assert phone.put("/conditional.txt", If='(["other"])').status == 412
    assert phone.get("/conditional.txt", If='(["other"])').status == 412
    assert phone.ask("DELETE", "/conditional.txt", If="(<urn:uuid:none>)").status == 412
    assert phone.put("/conditional.txt", If=f"([{etag}])").status == 204
    assert phone.put("/conditional.txt", If="(<urn:x>) (Not <DAV:no-lock>)").status == 204
    assert phone.put("/conditional.txt", If="nonsense").status == 400


def test_composed_and_decomposed_names_are_one_lock(phone: Device, laptop: Device):
    phone.put("/e\u0301te\u0301.txt")
    phone.token("/\u00e9t\u00e9.txt")
    assert laptop.put("/e\u0301te\u0301.txt").status == 423


def test_locks_survive_a_restart(fresh: Served):
    phone = Device(Client(fresh), "kept")
    token = phone.token("/file.txt")
    fresh.stop()
    fresh.start()
    assert phone.put("/file.txt").status == 423
    assert phone.put("/file.txt", If=f"({token})").status == 204


def test_two_people_never_share_locks(served: Served, phone: Device):
    phone.token("/private.txt")
    bob = Client(served, domain=f"bob.localhost:{served.port}")
    hers = f"{MOUNT}/{phone.folder}"
    bob.dav("MKCOL", hers)
    assert bob.dav("PUT", f"{hers}/private.txt", b"x").status == 201
    assert bob.dav("PUT", f"{hers}/private.txt", b"y").status == 204
    assert "activelock" not in bob.dav("PROPFIND", hers, Depth="1").body.decode()


def test_no_app_reads_locks(phone: Device):
    client = Client(phone.client.served, scope=("io.cozy.files", "io.cozy.files.locks"))
    assert client.api("GET", "/data/io.cozy.files.locks/_all_docs").status == 403


@pytest.fixture
def docs(tmp_path: Path) -> Iterator[Documents]:
    stack = open_stack(tmp_path / "data", Clock())
    yield stack.create("alice.example").docs
    stack.close()


def test_a_lock_that_ran_out_is_as_good_as_gone(docs: Documents):
    clock = Clock()
    book = LockBook(docs, clock)
    book.add("/a", "phone", 600, exclusive=True, deep=False, folder=False, owner="")
    clock.passes(minutes=9)
    assert [lock.root for lock in LockBook(docs, clock).covering("/a")] == ["/a"]
    clock.passes(minutes=2)
    later = LockBook(docs, clock)
    assert later.covering("/a") == []
    later.check_free("/a", exclusive=True, deep=True)
    fresh = later.add("/a", "laptop", 60, exclusive=True, deep=False, folder=False, owner="")
    assert fresh.until == clock() + timedelta(minutes=1)
    assert len(LockBook(docs, clock).locks) == 1


def test_locks_are_not_without_number(docs: Documents):
    clock = Clock()
    book = LockBook(docs, clock)
    book.add("/0", "phone", 600, exclusive=True, deep=False, folder=False, owner="")
    book.locks = [*book.locks] * MOST
    with pytest.raises(StorageFull):
        book.add("/1", "phone", 600, exclusive=True, deep=False, folder=False, owner="")


def test_what_an_app_has_removed_is_locked_no_more(phone: Device):
    phone.put("/gone.txt")
    phone.token("/gone.txt")
    assert phone.put("/gone.txt").status == 423
    file = phone.client.api("GET", f"/files/metadata?Path=/{phone.folder}/gone.txt").json["data"]["id"]
    assert phone.client.api("DELETE", f"/files/{file}").status == 200
    assert (phone.put("/gone.txt").status, phone.ask("DELETE", "/gone.txt").status) == (201, 204)
    phone.put("/gone.txt")
    phone.token("/gone.txt")
