"""A model of a tree of files, and an actor that does the same to the model and to the server, through both doors."""

import base64
import hashlib
import json
import random
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from werkzeug.test import TestResponse

from cozyd.files import Files
from cozyd.files.tree import restored_name, write_time
from cozyd.instance import Instance
from tests.support.doors import Doors
from tests.support.files import content

NAMES = ["a", "b", "c.txt", "A", "\u00e9", "e\u0301", "two words", "100% & more"]
APART = timedelta(minutes=15)


def data_of(answer: TestResponse) -> Any:
    """The resource in an answer."""
    return json.loads(answer.data)["data"]


@dataclass(eq=False)
class Entry:
    """A folder (`body` None) or file of the model."""

    id: str
    name: str
    parent: "Entry | None"
    body: bytes | None = None
    tagged: bool = False
    versions: list[tuple[datetime, bytes, bool]] = field(default_factory=list)
    trashed_from: "Entry | None" = None
    trashed_path: str = ""

    def path(self) -> str:
        return f"{self.parent.path()}/{self.name}" if self.parent else self.name

    def replace(self, new: bytes, now: datetime, *, tagged: bool = False) -> None:
        """The next content, by the rules of versions."""
        assert self.body is not None
        if new != self.body and (self.tagged or not self.versions or self.versions[-1][0] + APART <= now):
            self.versions.append((now, self.body, self.tagged))
        self.body, self.tagged = new, tagged


class Actor:
    """Does random things to a folder of its own; what the server answers has to be what the model says.

    :param top: the name of its folder, made in the root.
    """

    def __init__(self, doors: Doors, instance: Instance, top: str, chance: random.Random, now: Callable[[], datetime]) -> None:
        self.doors, self.instance, self.chance, self.now = doors, instance, chance, now
        made = doors.api("POST", f"/?{urlencode({'Type': 'directory', 'Path': f'/{top}'})}")
        assert made.status_code == 201, made.data
        self.top = Entry(data_of(made)["id"], f"/{top}", None)
        self.entries: list[Entry] = [self.top]
        self.trash: list[Entry] = []
        self.held: dict[str, list[Entry]] = {}
        self.steps = 0

    # -- the model --------------------------------------------------------------------------------------------------

    def children(self, home: Entry) -> list[Entry]:
        return [one for one in self.entries if one.parent is home]

    def below(self, top: Entry) -> Iterator[Entry]:
        for child in self.children(top):
            yield child
            yield from self.below(child)

    def twin(self, home: Entry, name: str) -> Entry | None:
        same = unicodedata.normalize("NFC", name)
        return next((one for one in self.children(home) if unicodedata.normalize("NFC", one.name) == same), None)

    def a_folder(self) -> Entry:
        return self.chance.choice([one for one in self.entries if one.body is None])

    def an_entry(self, *, file: bool = False) -> Entry | None:
        found = [one for one in self.entries if one is not self.top and (one.body is not None or not file)]
        return self.chance.choice(found) if found else None

    def forget(self, entry: Entry) -> None:
        gone = {id(entry), *(id(one) for one in self.below(entry))}
        self.entries = [one for one in self.entries if id(one) not in gone]

    def to_trash(self, entry: Entry) -> None:
        """An entry leaves with all below; it is remembered with what it has."""
        entry.trashed_from = entry.parent
        entry.trashed_path = entry.parent.path() if entry.parent else ""
        self.trash.append(entry)
        held = [entry, *self.below(entry)]
        self.forget(entry)
        self.held[entry.id] = held

    # -- steps ------------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """One random thing."""
        self.steps += 1
        self.chance.choice(STEPS)(self)

    def mkdir(self) -> None:
        home, name = self.a_folder(), self.chance.choice(NAMES)
        twin = self.twin(home, name)
        if self.chance.random() < 0.5:
            answer = self.doors.dav("MKCOL", f"{home.path()}/{name}")
            self.expect(answer, 405 if twin else 201)
            id = "" if twin else self.id_of(home, name)
        else:
            answer = self.doors.api("POST", f"/{home.id}?{urlencode({'Type': 'directory', 'Name': name})}")
            self.expect(answer, 409 if twin else 201)
            id = "" if twin else data_of(answer)["id"]
        if not twin:
            self.entries.append(Entry(id, name, home))

    def write(self) -> None:
        home, name, body = self.a_folder(), self.chance.choice(NAMES), self.a_content()
        twin = self.twin(home, name)
        if self.chance.random() < 0.5:
            answer = self.doors.dav("PUT", f"{home.path()}/{name}", body)
            if twin is not None and twin.body is None:
                self.expect(answer, 405, 409)
            elif twin is not None:
                self.expect(answer, 204)
                twin.replace(body, self.now(), tagged=twin.tagged)
            else:
                self.expect(answer, 201)
                self.entries.append(Entry(self.id_of(home, name), name, home, body))
            return
        tagged = self.chance.random() < 0.2
        query = {"Type": "file", "Name": name} | ({"Tags": "t"} if tagged else {})
        answer = self.doors.api("POST", f"/{home.id}?{urlencode(query)}", body)
        self.expect(answer, 409 if twin else 201)
        if not twin:
            self.entries.append(Entry(data_of(answer)["id"], name, home, body, tagged))

    def overwrite(self) -> None:
        file = self.an_entry(file=True)
        if file is None:
            return
        body, tagged = self.a_content(), self.chance.random() < 0.2
        if self.chance.random() < 0.3:
            stale = self.doors.api("PUT", f"/{file.id}", body, If_Match="1-00000000000000000000000000000000")
            self.expect(stale, 412)
        self.expect(self.doors.api("PUT", f"/{file.id}{'?Tags=t' if tagged else ''}", body), 200)
        file.replace(body, self.now(), tagged=tagged)

    def move(self) -> None:
        entry, home = self.an_entry(), self.a_folder()
        if entry is None:
            return
        name = self.chance.choice([entry.name, *NAMES])
        twin = self.twin(home, name)
        inside = home is entry or home in list(self.below(entry))
        if self.chance.random() < 0.5:
            attributes = {"name": name, "dir_id": home.id}
            answer = self.doors.api("PATCH", f"/{entry.id}", {"data": {"id": entry.id, "attributes": attributes}})
            ok = not inside and twin in (None, entry)
            self.expect(answer, 200 if ok else 412 if inside else 409)
        else:
            ok = self.dav_move(entry, home, name, twin, inside)
        if ok:
            entry.name, entry.parent = name, home

    def dav_move(self, entry: Entry, home: Entry, name: str, twin: Entry | None, inside: bool) -> bool:
        over = self.chance.random() < 0.5
        destination = self.doors.destination(f"{home.path()}/{name}")
        ancestor = twin is not None and entry in list(self.below(twin))
        answer = self.doors.dav("MOVE", entry.path(), Destination=destination, Overwrite="T" if over else "F")
        if inside or twin is entry or ancestor:
            self.expect(answer, 403, 409, 412, *((204, 201) if twin is entry else ()))
            return twin is entry and answer.status_code < 300
        self.expect(answer, 201 if twin is None else 204 if over else 412)
        if twin is not None and over:
            self.to_trash(twin)
        return twin is None or over

    def copy(self) -> None:
        entry, home = self.an_entry(), self.a_folder()
        if entry is None or len(self.entries) > 60:
            return
        name = self.chance.choice(NAMES)
        if entry.body is not None and self.chance.random() < 0.5:
            answer = self.doors.api("POST", f"/{entry.id}/copy?{urlencode({'DirID': home.id, 'Name': name})}")
            self.expect(answer, 201)
            made = data_of(answer)["attributes"]["name"]
            assert (made == name) == (self.twin(home, name) is None)
            self.entries.append(Entry(data_of(answer)["id"], made, home, entry.body, entry.tagged))
            return
        twin = self.twin(home, name)
        inside = entry.body is None and (home is entry or home in list(self.below(entry)))
        destination = self.doors.destination(f"{home.path()}/{name}")
        answer = self.doors.dav("COPY", entry.path(), Destination=destination, Overwrite="F")
        if twin is entry or inside:
            self.expect(answer, 403, 409, 412)
            return
        self.expect(answer, 412 if twin else 201)
        if not twin:
            self.copied(entry, home, name)

    def copied(self, entry: Entry, home: Entry, name: str) -> None:
        made = Entry(self.id_of(home, name), name, home, entry.body, entry.tagged)
        for child in self.children(entry):
            self.copied(child, made, child.name)
        self.entries.append(made)

    def put_in_trash(self) -> None:
        entry = self.an_entry()
        if entry is None:
            return
        if self.chance.random() < 0.5:
            self.expect(self.doors.api("DELETE", f"/{entry.id}"), 200)
            self.expect(self.doors.api("DELETE", f"/{entry.id}"), 400)
        else:
            self.expect(self.doors.dav("DELETE", entry.path()), 204)
        self.to_trash(entry)

    def restore(self) -> None:
        if not self.trash:
            return
        entry = self.chance.choice(self.trash)
        home = entry.trashed_from
        if home is None or home not in self.entries:
            return
        answer = self.doors.api("POST", f"/trash/{entry.id}")
        if answer.status_code == 409:
            assert home.path() != entry.trashed_path
            return
        self.expect(answer, 200)
        made = data_of(answer)["attributes"]["name"]
        if data_of(answer)["attributes"]["dir_id"] != home.id:
            self.expect_moved_home(entry, answer)
            return
        plain = restored_name(entry.name)
        assert made == plain or self.twin(home, plain) is not None
        self.trash.remove(entry)
        entry.name, entry.parent, entry.trashed_from = made, home, None
        self.entries += self.held.pop(entry.id)

    def expect_moved_home(self, entry: Entry, answer: TestResponse) -> None:
        """The folder it was in has another path now: it comes back under the old one, which is made again for it."""
        id = data_of(answer)["attributes"]["dir_id"]
        self.trash.remove(entry)
        self.held.pop(entry.id)
        self.expect(self.doors.api("DELETE", f"/trash/{entry.id}"), 204)
        for dir in self.made_again(id):
            self.entries.append(dir)

    def made_again(self, id: str) -> list[Entry]:
        """Folders the server made that the model does not know yet, the topmost first."""
        known = next((one for one in self.entries if one.id == id), None)
        if known is not None:
            return []
        found = self.instance.files.dir(id)
        above = self.made_again(found.parent)
        parent = next(one for one in (*above, *self.entries) if one.id == found.parent)
        return [*above, Entry(id, found.name, parent)]

    def erase(self) -> None:
        if self.trash and self.chance.random() < 0.7:
            entry = self.chance.choice(self.trash)
            self.trash.remove(entry)
            self.held.pop(entry.id)
        else:
            found = self.an_entry()
            if found is None:
                return
            entry = found
            self.forget(entry)
        self.expect(self.doors.api("DELETE", f"/trash/{entry.id}"), 204)

    def revert(self) -> None:
        file = self.an_entry(file=True)
        if file is None or not file.versions:
            return
        listed = json.loads(self.doors.api("GET", f"/{file.id}").data)["included"]
        known = [(write_time(kept), base64.b64encode(hashlib.md5(body).digest()).decode(), tagged) for kept, body, tagged in file.versions]
        shown = [(one["cozyMetadata"]["createdAt"], one["md5sum"], bool(one["tags"])) for one in (item["attributes"] for item in listed)]
        assert sorted(shown) == sorted(known)
        number = self.chance.randrange(len(listed))
        _, body, tagged = file.versions.pop(known.index(shown[number]))
        if self.chance.random() < 0.3:
            self.expect(self.doors.api("DELETE", f"/{listed[number]['id']}"), 204)
            return
        self.expect(self.doors.api("POST", f"/revert/{listed[number]['id']}"), 200)
        assert file.body is not None
        file.versions.append((self.now(), file.body, file.tagged))
        file.body, file.tagged = body, tagged

    def too_much(self) -> None:
        quota = self.instance.quota()
        if quota is None:
            return
        home = self.a_folder()
        answer = self.doors.dav("PUT", f"{home.path()}/huge", b"x" * (quota + 1))
        self.expect(answer, 507)
        answer = self.doors.api("POST", f"/{home.id}?Type=file&Name=huge", b"x" * (quota + 1))
        self.expect(answer, 413)

    # -- checks -----------------------------------------------------------------------------------------------------

    def a_content(self) -> bytes:
        return self.chance.choice([b"", b"same", self.chance.randbytes(self.chance.randrange(2000))])

    def id_of(self, home: Entry, name: str) -> str:
        found = self.instance.files.find(self.instance.files.dir(home.id), name)
        assert found is not None
        return found.id

    def expect(self, answer: TestResponse, *statuses: int) -> None:
        assert answer.status_code in statuses, (answer.status, statuses, answer.data[:300])

    def check(self) -> None:
        """The server's tree is the model's."""
        files = self.instance.files
        self.check_folder(files, self.top)
        for entry in self.trash:
            assert files.get(entry.id).trashed, entry.name
            for one in self.held[entry.id]:
                node = files.get(one.id)
                assert node.trashed
                assert one.body is None or content(files, node) == one.body

    def check_folder(self, files: Files, entry: Entry) -> None:
        dir = files.dir(entry.id)
        assert dir.path == entry.path()
        found, wanted = files.children(dir), self.children(entry)
        assert sorted((node.id, node.name) for node in found) == sorted((one.id, one.name) for one in wanted)
        for one in wanted:
            if one.body is None:
                self.check_folder(files, one)
                continue
            assert content(files, files.get(one.id)) == one.body
            kept = []
            for version in files.versions.of(one.id):
                with files.open(version.blob) as stream:
                    kept.append(stream.read())
            assert sorted(kept) == sorted(body for _, body, _ in one.versions)


STEPS: list[Callable[[Actor], None]] = [
    *[Actor.write] * 5,
    *[Actor.mkdir] * 3,
    *[Actor.overwrite] * 3,
    *[Actor.move] * 4,
    *[Actor.copy] * 2,
    *[Actor.put_in_trash] * 2,
    *[Actor.restore] * 2,
    Actor.erase,
    *[Actor.revert] * 2,
]
