"""What transcripts of file managers share: a client that sends requests with its name, and a look at the answers."""

import urllib.parse

from tests.support.client import Answer, Client
from tests.support.webdav import MOUNT, D, responses


class Player:
    """Sends a client's requests with its name.

    :param agent: User-Agent.
    """

    def __init__(self, client: Client, agent: str, folder: str) -> None:
        self.client = client
        self.agent = agent
        self.base = f"{MOUNT}/{folder}"
        client.dav("MKCOL", self.base)

    def __call__(self, expected: int | tuple[int, ...], method: str, path: str, body: bytes | str | None = None, **headers: str) -> Answer:
        """A request below the folder, or at an absolute path that begins with `//`."""
        target = path[1:] if path.startswith("//") else self.base + urllib.parse.quote(path)
        answer = self.client.dav(method, target, body, User_Agent=self.agent, **headers)
        wanted = expected if isinstance(expected, tuple) else (expected,)
        assert answer.status in wanted, (method, path, answer.status, answer.body)
        return answer

    def url(self, path: str) -> str:
        """An absolute address, as it stands in Destination."""
        return f"http://{self.client.host}{self.base}{urllib.parse.quote(path)}"


def first_properties(answer: Answer) -> dict[str, str]:
    """Name -> text of the first response's properties."""
    found = responses(answer)[0].find(f"{D}propstat/{D}prop")
    assert found is not None
    return {one.tag.removeprefix(D): "".join(one.itertext()) or ",".join(child.tag for child in one) for one in found}
