"""What tokens of single verbs may do with contacts, calendars and files over DAV (docs/dav.md; contract/permissions.md)."""

import itertools
import re

from tests.dav.asking import HOME, NS, card, precondition, propfind, put
from tests.support.client import Answer, Client
from tests.support.serving import Served

numbers = itertools.count()
FILES = "/sync/files/"


class Holder:
    """Who asks with a token of some scope."""

    def __init__(self, served: Served, alice: Client, *scope: str) -> None:
        self.alice = alice
        self.token = served.token(*scope)

    def ask(self, method: str, path: str, body: str | None = None, **headers: str) -> Answer:
        return self.alice.ask(method, path, body, Authorization=f"Bearer {self.token}", **headers)


def test_what_is_added_changed_or_removed_takes_its_own_right(alice: Client, served: Served, book: str):
    for name in ("there", "other"):
        put(alice, f"{book}{name}.vcf", card(name, "FN:A"))
    add = ("PUT", f"{book}new.vcf", card("new", "FN:New"))
    change = ("PUT", f"{book}there.vcf", card("there", "FN:Changed"))
    remove = ("DELETE", f"{book}other.vcf", None)
    adder, changer, remover = (Holder(served, alice, f"io.cozy.contacts:GET,{verb}") for verb in ("POST", "PUT", "DELETE"))
    for holder, refused in ((adder, (change, remove)), (changer, (add, remove)), (remover, (add, change))):
        for method, path, body in refused:
            assert precondition(holder.ask(method, path, body), "need-privileges"), (method, path)
        assert precondition(holder.ask("POST", book, card("more", "FN:More")), "need-privileges"), "what is there is replaced"
    over = {"Destination": f"{book}other.vcf"}
    assert precondition(changer.ask("MOVE", f"{book}there.vcf", **over), "need-privileges")
    assert precondition(adder.ask("MOVE", f"{book}there.vcf", Destination=f"{book}moved.vcf"), "need-privileges")
    assert precondition(changer.ask("COPY", f"{book}there.vcf", Destination=f"{HOME}contacts/copy.vcf"), "need-privileges")
    assert adder.ask(*add).status == 201
    assert changer.ask(*change).status == 204
    assert remover.ask(*remove).status == 204
    assert changer.ask("MOVE", f"{book}there.vcf", Destination=f"{book}moved.vcf").status == 201


def test_a_device_is_told_what_it_may(alice: Client, served: Served, book: str):
    told = {
        "GET": set(),
        "GET,POST": {"bind"},
        "GET,PUT": {"write-content", "write-properties"},
        "GET,DELETE": {"unbind"},
        "ALL": {"write", "write-content", "write-properties", "bind", "unbind"},
    }
    for verbs, expected in told.items():
        token = served.token(f"io.cozy.contacts:{verbs}")
        answer = propfind(alice, book, "<current-user-privilege-set/>", Authorization=f"Bearer {token}").body.decode()
        found = set(re.findall(r"<D:privilege><D:([\w-]+)/>", answer)) - {"read", "read-current-user-privilege-set"}
        assert found == expected, verbs


def test_a_collection_is_removed_by_who_may_delete(alice: Client, served: Served):
    path = f"{HOME}gone{next(numbers)}/"
    made = f"<mkcol {NS}><set><prop><resourcetype><collection/><CR:addressbook/></resourcetype></prop></set></mkcol>"
    assert alice.dav("MKCOL", path, made).status == 201
    assert precondition(Holder(served, alice, "io.cozy.contacts:GET,POST,PUT").ask("DELETE", path), "need-privileges")
    assert Holder(served, alice, "io.cozy.contacts:GET,DELETE").ask("DELETE", path).status in (200, 204)


def test_who_may_not_add_files_makes_none(alice: Client, served: Served):
    name = f"{FILES}r{next(numbers)}.txt"
    changer = Holder(served, alice, "io.cozy.files:GET,PUT")
    lock = '<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>'
    assert changer.ask("PUT", name, "a").status == 403
    assert changer.ask("LOCK", name, lock).status == 403
    assert alice.dav("PROPFIND", name, Depth="0").status == 404
    assert alice.dav("PUT", name, "a").status == 201
    assert changer.ask("PUT", name, "b").status == 204
    assert alice.dav("PUT", f"{name}.2", "c").status == 201
    adder = Holder(served, alice, "io.cozy.files:GET,POST")
    assert adder.ask("COPY", name, Destination=f"{name}.2").status == 403
    assert adder.ask("COPY", name, Destination=f"{name}.3").status == 201
