"""Four clients edit two calendars at once: two by DAV, one by JSON, one a replica. No acknowledged change is lost, and each sync is exact.

Clients work with what they last saw. Between them the server is restarted, backed up and restored. After every sync a DAV client
has exactly what the server lists; in the end all have what the acknowledged changes add up to.
"""

import base64
import copy
import io
import random
import re
from pathlib import Path
from typing import Any

import pytest

from cozyd.documents.store import Ref
from cozyd.errors import Conflict, NotFound
from cozyd.instance import Instance
from cozyd.pim import ical
from dav.radicale import mount
from tests.support.stack import Clock, open_stack

DOMAIN = "alice.localhost:1"
NS = 'xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"'
CALENDARS = ("calendar", "second")
EVENT = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nBEGIN:VEVENT\r\nUID:{uid}\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20260301T100000Z\r\n"
    "X-KEPT;P=1:of {uid}\r\nSUMMARY:{summary}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)
Model = dict[str, dict[str, Any]]


class World:
    """The server, and what its data has to be by the changes it acknowledged."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder, self.chance, self.clock = folder, chance, Clock()
        self.stack = open_stack(folder / "data", self.clock)
        self.stack.create(DOMAIN)
        _, self.password = self.instance.auth.devices.add("test", ("calendars",), read_only=False)
        self.instance.pim.make("calendar", {}, id="second")
        self.model: Model = {}
        self.backup: tuple[Path, Model] | None = None
        self.made = 0

    @property
    def instance(self) -> Instance:
        return self.stack.locate(DOMAIN)

    def keeps(self, id: str, *revs: str) -> Any:
        """Each of the revisions is in the winner's past, or a conflict where edits were made side by side; the winner."""
        docs, ref = self.instance.docs, Ref(ical.EVENTS, id)
        winner = docs.get_many(ical.EVENTS, [id])[0]
        assert winner is not None
        past = [leaf.rev for leaf in docs.leaves(ref)]
        assert set(revs) <= {rev for leaf in past for rev in docs.tree(ref).path(leaf)}
        return winner.doc

    def restart(self) -> None:
        self.stack.close()
        self.stack = open_stack(self.folder / "data", self.clock)

    def back_up(self) -> None:
        self.made += 1
        path = self.folder / f"backup-{self.made}"
        self.stack.documents.backup(self.instance.prefix, str(path))
        self.backup = (path, copy.deepcopy(self.model))

    def restore(self) -> bool:
        if self.backup is None:
            return False
        path, model = self.backup
        prefix = self.instance.prefix
        self.stack.documents.restore(prefix, str(path))
        self.restart()
        self.model = copy.deepcopy(model)
        return True

    def dav(self, method: str, path: str, body: str = "", **headers: str) -> tuple[int, dict[str, str], str]:
        found: dict[str, Any] = {}

        def start(status: str, given: list[tuple[str, str]], *_: Any) -> None:
            found.update(status=int(status[:3]), headers=dict(given))

        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "/sync/dav",
            "PATH_INFO": path,
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": DOMAIN,
            "HTTP_AUTHORIZATION": "Basic " + base64.b64encode(f"me:{self.password}".encode()).decode(),
            "CONTENT_LENGTH": str(len(body.encode())),
            "wsgi.input": io.BytesIO(body.encode()),
            "cozyd.instance": self.instance,
            "cozyd.stack": self.stack,
        } | {f"HTTP_{name.upper()}": value for name, value in headers.items()}
        text = b"".join(mount(environ, start)).decode()
        assert found["status"] < 500, text
        return found["status"], found["headers"], text


class DavClient:
    """A phone: it knows what it synced last, and writes with the ETags of then."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.count = 0
        self.tokens: dict[str, str] = {}
        self.items: dict[str, dict[str, tuple[str, str]]] = {one: {} for one in CALENDARS}

    def sync(self, calendar: str) -> None:
        inner = "<sync-token>{}</sync-token><sync-level>1</sync-level>{}<prop><getetag/><C:calendar-data/></prop>"
        limit = "<limit><nresults>3</nresults></limit>" if self.world.chance.random() < 0.3 else ""
        while True:
            body = f"<sync-collection {NS}>{inner.format(self.tokens.get(calendar, ''), limit)}</sync-collection>"
            status, _, text = self.world.dav("REPORT", f"/me/{calendar}/", body)
            if status == 403:
                assert "<D:valid-sync-token/>" in text
                self.tokens.pop(calendar)
                self.items[calendar] = {}
                continue
            assert status == 207, text
            self._take(calendar, text)
            if "507 Insufficient Storage" not in text:
                break
        listed = {row.key[1]: row.value["etag"] for row in self.world.instance.pim.rows(self.world.instance.pim.collection(calendar))}
        assert {href: tag for href, (tag, _) in self.items[calendar].items()} == listed

    def _take(self, calendar: str, text: str) -> None:
        known = self.items[calendar]
        for href, rest in re.findall(r"<D:response><D:href>[^<]*?([^</]*)</D:href>(.*?)</D:response>", text, re.DOTALL):
            if "404 Not Found" in rest:
                known.pop(href, None)
            elif href:
                tag = re.search(r"&quot;(\w+)&quot;", rest)
                data = re.search(r"<C:calendar-data>(.*?)</C:calendar-data>", rest, re.DOTALL)
                assert tag is not None
                assert data is not None
                known[href] = (tag.group(1), data.group(1).replace("&#13;", "\r"))
        token = re.search(r"<D:sync-token>([^<]*)</D:sync-token></D:multistatus>", text)
        assert token is not None
        self.tokens[calendar] = token.group(1)

    def step(self) -> None:
        chance = self.world.chance
        calendar = chance.choice(CALENDARS)
        known = self.items[calendar]
        action = chance.choice(("sync", "create", "edit", "edit", "edit", "delete", "move", "rename"))
        if action == "sync" or (action != "create" and not known):
            self.sync(calendar)
        elif action == "create":
            self._create(calendar)
        else:
            href = chance.choice(sorted(known))
            getattr(self, f"_{action}")(calendar, href, *known[href])

    def _create(self, calendar: str) -> None:
        self.count += 1
        uid = f"{self.name}-{self.count}"
        while uid in self.world.model:
            self.count += 1
            uid = f"{self.name}-{self.count}"
        summary = f"new {self.world.chance.random()}"
        status, _, _ = self.world.dav("PUT", f"/me/{calendar}/{uid}.ics", EVENT.format(uid=uid, summary=summary), if_none_match="*")
        if status == 201:
            self.world.model[uid] = {"calendar": calendar, "SUMMARY": summary}

    def _edit(self, calendar: str, href: str, tag: str, text: str) -> None:
        summary = f"edit {self.world.chance.random()}"
        changed = re.sub(r"SUMMARY:[^\r]*", f"SUMMARY:{summary}", text)
        status, _, _ = self.world.dav("PUT", f"/me/{calendar}/{href}", changed, if_match=f'"{tag}"')
        assert status in (204, 412)
        if status == 204:
            self.world.model[_uid(text)]["SUMMARY"] = summary

    def _delete(self, calendar: str, href: str, tag: str, text: str) -> None:
        status, _, _ = self.world.dav("DELETE", f"/me/{calendar}/{href}", if_match=f'"{tag}"')
        assert status in (204, 404, 412)
        if status == 204:
            del self.world.model[_uid(text)]

    def _move(self, calendar: str, href: str, tag: str, text: str) -> None:
        other = CALENDARS[1 - CALENDARS.index(calendar)]
        status, _, _ = self.world.dav("MOVE", f"/me/{calendar}/{href}", destination=f"/sync/dav/me/{other}/{href}", if_match=f'"{tag}"')
        assert status in (201, 404, 412)
        if status == 201:
            self.world.model[_uid(text)]["calendar"] = other

    def _rename(self, calendar: str, href: str, tag: str, text: str) -> None:
        name = f"{self.world.chance.randrange(10**9)}.ics"
        status, _, _ = self.world.dav("MOVE", f"/me/{calendar}/{href}", destination=f"/sync/dav/me/{calendar}/{name}", if_match=f'"{tag}"')
        assert status in (201, 404, 412), text


class JsonClient:
    """An app: it edits documents it has read before."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.known: dict[str, dict[str, Any]] = {}

    def refresh(self) -> None:
        try:
            self.known = {one.ref.id: one.doc for one in self.world.instance.docs.all(ical.EVENTS).rows}
        except NotFound:
            self.known = {}

    def step(self) -> None:
        chance = self.world.chance
        if not self.known or chance.random() < 0.3:
            self.refresh()
            return
        id = chance.choice(sorted(self.known))
        doc = self.known[id]
        uid = self.world_uid(id)
        try:
            if chance.random() < 0.15:
                self.world.instance.docs.delete(Ref(ical.EVENTS, id), doc["_rev"])
                del self.known[id]
                left = self.world.instance.docs.get_many(ical.EVENTS, [id])[0]
                if left is None:
                    del self.world.model[str(uid)]
                else:  # the branch that had lost stands in, as in CouchDB
                    self.world.model[str(uid)].update(_fields(left.doc))
                return
            value = f"place {chance.random()}"
            made = self.world.instance.docs.put(ical.EVENTS, doc | {"location": value})
            self.known[id] = dict(made.doc)
            winner = self.world.keeps(id, made.rev)
            self.world.model[str(uid)].update(_fields(winner))
            assert winner["location"] == value or winner["_rev"] != made.rev
        except (Conflict, NotFound):
            self.known.pop(id)

    def world_uid(self, id: str) -> str | None:
        found = self.world.instance.docs.get_many(ical.EVENTS, [id])[0]
        return str(found.private["dav"]["uid"]) if found is not None else None


class Replica:
    """A PouchDB: it edits its copies, and pushes revisions as they are."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.since = ""
        self.docs: dict[str, dict[str, Any]] = {}

    def pull(self) -> None:
        try:
            feed = self.world.instance.docs.changes(ical.EVENTS, since=self.since, docs=True)
        except NotFound:
            return
        for row in feed.rows:
            if row.deleted:
                self.docs.pop(row.id, None)
            elif row.stored is not None:
                self.docs[row.id] = dict(row.stored.doc)
        self.since = feed.last_seq

    def step(self) -> None:
        chance, docs = self.world.chance, self.world.instance.docs
        if not self.docs or chance.random() < 0.4:
            self.pull()
            return
        id = chance.choice(sorted(self.docs))
        mine = self.docs[id]
        generation, _, digest = str(mine["_rev"]).partition("-")
        new = f"{chance.randrange(16**32):032x}"
        priority = chance.randrange(1, 10**6)
        revisions = {"start": int(generation) + 1, "ids": [new, digest]}
        body = mine | {"priority": priority, "_rev": f"{int(generation) + 1}-{new}", "_revisions": revisions}
        before = docs.get_many(ical.EVENTS, [id])[0]
        docs.graft(ical.EVENTS, [body])
        self.docs.pop(id)
        if before is None:
            docs.graft(ical.EVENTS, [self._tombstone(id, body)])  # an edit of what was deleted: taken back, so that the model stays simple
            return
        winner = self.world.keeps(id, body["_rev"], before.rev)
        self.world.model[str(before.private["dav"]["uid"])].update(_fields(winner))

    def _tombstone(self, id: str, body: dict[str, Any]) -> dict[str, Any]:
        winner = self.world.instance.docs.get(Ref(ical.EVENTS, id))
        generation, _, digest = winner.rev.partition("-")
        new = "f" * 32
        return {
            "_id": id,
            "_deleted": True,
            "_rev": f"{int(generation) + 1}-{new}",
            "_revisions": {"start": int(generation) + 1, "ids": [new, digest]},
        }


def _fields(doc: Any) -> dict[str, Any]:
    """What a document says of the mapped fields, by their properties."""
    found = {"SUMMARY": doc.get("label"), "LOCATION": doc.get("location"), "PRIORITY": doc.get("priority")}
    relation = (doc.get("relationships") or {}).get("calendar") or {}
    return found | {"calendar": (relation.get("data") or {}).get("_id", "calendar")}


def _uid(text: str) -> str:
    found = re.search(r"UID:([^\r]*)", text)
    assert found is not None
    return found.group(1)


def check(world: World, clients: list[DavClient], replica: Replica) -> None:
    """After all is quiet: the texts, the documents and every client say what the acknowledged changes add up to."""
    instance = world.instance
    seen: dict[str, str] = {}
    for calendar in CALENDARS:
        collection = instance.pim.collection(calendar)
        rows = instance.pim.rows(collection)
        for href, text in instance.pim.texts(rows).items():
            lines = dict(line.split(":", 1) for line in text.decode().split("\r\n") if ":" in line)
            expected = world.model[lines["UID"]]
            assert {name: lines.get(name) for name in ("SUMMARY", "LOCATION")} == {
                name: expected.get(name) for name in ("SUMMARY", "LOCATION")
            }
            assert lines.get("PRIORITY", "None") == str(expected.get("PRIORITY")), (text, expected)
            assert (expected["calendar"], lines["X-KEPT;P=1"]) == (calendar, f"of {lines['UID']}")
            seen[lines["UID"]] = href
        for client in clients:
            client.sync(calendar)
            assert {href: text.encode() for href, (_, text) in client.items[calendar].items()} == dict(instance.pim.texts(rows))
    assert seen.keys() == world.model.keys()
    replica.pull()
    try:
        live = {one.ref.id: one.rev for one in instance.docs.all(ical.EVENTS).rows}
    except NotFound:
        live = {}
    replica.docs = {}
    replica.since = ""
    replica.pull()
    assert {id: doc["_rev"] for id, doc in replica.docs.items()} == live


def play(folder: Path, seed: int, steps: int) -> None:
    world = World(folder, random.Random(seed))
    phones, app, replica = [DavClient(world, "one"), DavClient(world, "two")], JsonClient(world), Replica(world)
    try:
        for number in range(steps):
            draw = world.chance.random()
            if draw < 0.004:
                world.restart()
            elif draw < 0.008:
                world.back_up()
            elif draw < 0.011 and world.restore():
                app.known, replica.docs, replica.since = {}, {}, ""
            else:
                world.clock.passes(seconds=1)
                clients: list[DavClient | JsonClient | Replica] = [*phones, app, replica]
                world.chance.choice(clients).step()
            if number % 100 == 99:
                check(world, phones, replica)
        check(world, phones, replica)
    finally:
        world.stack.close()


def test_four_clients_lose_no_change(tmp_path: Path):
    play(tmp_path, 1, 600)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(5))
def test_four_clients_lose_no_change_in_ten_thousand_steps(tmp_path: Path, seed: int):
    play(tmp_path, seed, 10_000)
