"""Names and paths: any legal one survives every door, and none leads out of the tree."""

import io
import json
import zipfile
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from cozyd.instance import Instance
from cozyd.permissions import ROOT_DIR
from cozyd.stack import Stack
from tests.support.doors import Doors
from tests.support.files import faults
from tests.support.stack import Clock, open_stack
from tests.support.tree_model import data_of

CLIMBS = [*r".. ../ ../../ ./ / // \ ..\ ....// ..;/ %2e%2e %2e%2e/ ..%2f %252e%252e%252f ..%5c ..%c0%af %c0%ae%c0%ae/".split()]
CLIMBS += [*r"..%00/ ..%0d%0a file:/// C:\ \\host\share\ ~/ $HOME/".split(), "\u2025/", "\uff0e\uff0e/"]
TARGETS = [*"etc/passwd blobs lock admin.sock .cozy_trash/x global.sqlite proc/self/environ .ssh/id tmp x".split(), "\0", "a\nb"]
PAYLOADS = [climb + target for climb in CLIMBS for target in TARGETS]
SCRIPTS = "\u4e2d\u05d0\u0e01\u0410\u03a9\U00010348\u0301\u2028\x85"
ODD = [
    *(chr(code) for code in range(1, 128) if chr(code) not in "/\n\r."),
    *"\u00e9 e\u0301 \u202etxt.exe \u200b \ufeffbom \U0001f600 \u0627\u0644\u0639 \u65e5\u672c".split(" "),
    *"CON PRN AUX NUL COM1 LPT9 con.txt desktop.ini Thumbs.db .DS_Store ._x .hidden ... a. .cozy_apps .thumbs metadata".split(),
    *[". .", "a ", " a", "  ", "no extension", "'; DROP TABLE doc; --"],
    *r"""a:b a*b a?b a"b a<b> a|b a\b a;b a&b=c a#b a%b 100% %2F %00 + a+b a,b {x} [y] $(x) `x` -rf --help ~ ~root""".split(),
    *"<script> ${jndi:x} null true 0 1e5 {} [] __proto__ constructor a.b.c a.tar.gz a.b. .tar.gz".split(),
    *["x" * 255, "\u00e9" * 127, "\U0001f600" * 63, "a" * 251 + ".txt", "." * 255],
    *(f"{base}{number}" for base in SCRIPTS for number in range(38)),
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory):
    stack = open_stack(tmp_path_factory.mktemp("names") / "data", Clock())
    yield stack
    stack.close()


@pytest.fixture(scope="module")
def alice(stack: Stack) -> Instance:
    return stack.create("alice.localhost")


@pytest.fixture(scope="module")
def doors(stack: Stack, alice: Instance) -> Doors:
    return Doors(stack, alice)


def test_the_lists_are_long_enough():
    assert len(PAYLOADS) >= 300
    assert len(set(ODD)) >= 500


def outside(stack: Stack, alice: Instance) -> set[Path]:
    """Every path around the data folder but contents and the tenant's own database."""
    around = stack.config.storage.path.parent.rglob("*")
    return {path for path in around if "blobs" not in path.parts and not path.name.startswith(alice.prefix)}


def test_no_payload_leaves_the_root_or_is_too_much_for_the_server(doors: Doors, stack: Stack, alice: Instance):
    before = outside(stack, alice)
    file = data_of(doors.api("POST", f"/{ROOT_DIR}?Type=file&Name=victim", b"x"))["id"]
    for payload in PAYLOADS:
        text, whole = quote(payload, safe=""), urlencode({"Path": payload})
        asked = [
            doors.api("POST", f"/{ROOT_DIR}?Type=directory&Name={text}"),
            doors.api("POST", f"/{text}?Type=directory&Name=x"),
            doors.api("POST", f"/?Type=directory&{whole}"),
            doors.api("GET", f"/metadata?{whole}"),
            doors.api("GET", f"/download?{whole}"),
            doors.api("GET", f"/download/{text}"),
            doors.api("GET", f"/{text}"),
            doors.api("POST", f"/{file}/copy?Name={text}"),
            doors.api("POST", f"/downloads?{whole}"),
            doors.api("POST", f"/downloads?VersionId={text}"),
            doors.api("PATCH", f"/{file}", {"data": {"attributes": {"dir_id": payload}}}),
            doors.api("POST", "/archive", {"data": {"attributes": {"name": payload, "files": [payload], "ids": [payload]}}}),
            doors.dav("PUT", f"/{payload}", b"x"),
            doors.dav("MOVE", "/victim", Destination=f"http://alice.localhost/sync/files/{quote(payload)}", Overwrite="F"),
        ]
        assert all(answer.status_code < 500 for answer in asked), (payload, [answer.status for answer in asked])
        assert not any(b"root:" in answer.data for answer in asked)
    assert outside(stack, alice) == before
    assert faults(alice) == []


def test_any_legal_name_survives_json_webdav_and_zip(doors: Doors, alice: Instance):
    home = data_of(doors.api("POST", f"/{ROOT_DIR}?Type=directory&Name=odd"))["id"]
    names: dict[str, str] = {}
    for name in dict.fromkeys(ODD):
        made = doors.api("POST", f"/{home}?{urlencode({'Type': 'file', 'Name': name})}", name.encode())
        if made.status_code == 409:  # a twin by NFC
            continue
        assert made.status_code == 201, (name, made.data)
        assert data_of(made)["attributes"]["name"] == name
        names[data_of(made)["id"]] = name
        by_path = doors.api("GET", f"/download?{urlencode({'Path': f'/odd/{name}'})}")
        assert by_path.data == name.encode(), name
        assert "\n" not in by_path.headers["Content-Disposition"]
    assert len(names) >= 480
    listed = json.loads(doors.api("GET", f"/{home}?page[limit]=1000").data)["included"]
    assert {one["id"]: one["attributes"]["name"] for one in listed} == names
    for name in names.values():
        if not any(ord(char) < 32 for char in name):
            answer = doors.dav("GET", f"/odd/{name}")
            assert (answer.status_code, answer.data) == (200, name.encode()), name
    answer = doors.api("POST", "/archive", {"data": {"attributes": {"ids": [home]}}}, Accept="application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.data)) as found:
        assert found.testzip() is None
        inside = {info.filename.removeprefix("archive/odd/") for info in found.infolist()} - {""}
        assert len(inside) == len(names)
