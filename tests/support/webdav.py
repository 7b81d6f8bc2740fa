"""One device over WebDAV in a folder of its own, and what its answers say."""

from urllib.parse import quote
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from tests.support.client import Answer, Client

MOUNT = "/sync/files"
D = "{DAV:}"
LOCK = (
    '<?xml version="1.0"?><lockinfo xmlns="DAV:"><lockscope><{scope}/></lockscope><locktype><write/></locktype>'
    "<owner><href>mailto:me@example.org</href></owner></lockinfo>"
)


class Device:
    """Paths are below the folder; header names as keywords.

    :param folder: made when it is not there.
    """

    def __init__(self, client: Client, folder: str) -> None:
        self.client = client
        self.folder = folder
        self.base = f"{MOUNT}/{quote(folder)}"
        client.dav("MKCOL", self.base)

    def another(self) -> "Device":
        """A second device of the same person, with a password of its own."""
        return Device(Client(self.client.served, domain=self.client.domain), self.folder)

    def at(self, path: str) -> str:
        """A path as it is asked for."""
        return self.base + quote(path)

    def url(self, path: str) -> str:
        """An absolute address, as clients send it in Destination."""
        return f"http://{self.client.host}{self.at(path)}"

    def ask(self, method: str, path: str, body: bytes | str | None = None, **headers: str) -> Answer:
        return self.client.dav(method, self.at(path), body, **headers)

    def put(self, path: str, body: bytes = b"text", **headers: str) -> Answer:
        return self.ask("PUT", path, body, **headers)

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def mkcol(self, path: str) -> Answer:
        return self.ask("MKCOL", path)

    def move(self, path: str, to: str, **headers: str) -> Answer:
        return self.ask("MOVE", path, Destination=self.url(to), **headers)

    def copy(self, path: str, to: str, **headers: str) -> Answer:
        return self.ask("COPY", path, Destination=self.url(to), **headers)

    def lock(self, path: str, *, scope: str = "exclusive", **headers: str) -> Answer:
        return self.ask("LOCK", path, LOCK.format(scope=scope), **headers)

    def token(self, path: str, **how: str) -> str:
        """Take a lock; its token in angle brackets."""
        answer = self.lock(path, **how)
        assert answer.status in (200, 201), answer.body
        return str(answer.headers["Lock-Token"])

    def names(self, path: str = "") -> list[str]:
        """The names in a folder."""
        answer = self.ask("PROPFIND", f"{path}/", Depth="1")
        assert answer.status == 207, answer.body
        return [one.findtext(f".//{D}displayname", "") for one in responses(answer)[1:]]

    def property(self, path: str, name: str) -> Element | None:
        """One property, asked by name; None where there is none."""
        space, _, local = name.removeprefix("{").partition("}")
        body = f'<propfind xmlns="DAV:"><prop><x:{local} xmlns:x="{space}"/></prop></propfind>'
        answer = self.ask("PROPFIND", path, body, Depth="0")
        assert answer.status == 207, answer.body
        for stat in responses(answer)[0].iterfind(f"{D}propstat"):
            if "200" in stat.findtext(f"{D}status", ""):
                return stat.find(f"{D}prop/{name}")
        return None

    def set(self, path: str, *properties: str, **headers: str) -> Answer:
        """PROPPATCH: elements as text."""
        inner = "".join(f"<D:set><D:prop>{one}</D:prop></D:set>" for one in properties)
        return self.ask("PROPPATCH", path, f'<D:propertyupdate xmlns:D="DAV:">{inner}</D:propertyupdate>', **headers)


def responses(answer: Answer) -> list[Element]:
    """The responses of a 207."""
    return list(ElementTree.fromstring(answer.body).iterfind(f"{D}response"))


def statuses(answer: Answer) -> dict[str, int]:
    """Property -> status, of the first response of a 207."""
    found: dict[str, int] = {}
    for stat in responses(answer)[0].iterfind(f"{D}propstat"):
        status = int(stat.findtext(f"{D}status", "").split()[1])
        found |= {one.tag: status for one in stat.find(f"{D}prop") or ()}
    return found


def hrefs(answer: Answer) -> list[str]:
    """The addresses in a 207."""
    return [one.findtext(f"{D}href", "") for one in responses(answer)]


def condition(answer: Answer) -> str:
    """The precondition that an error names."""
    return ElementTree.fromstring(answer.body)[0].tag.removeprefix(D)
