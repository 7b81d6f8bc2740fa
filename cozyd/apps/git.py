"""Apps from git, with dulwich: no program is run, and nothing is checked out; files come from the tree of one commit.

`git://`, `git+https://` and `git+http://` are asked by HTTP through `Outbound`; `git+file:///path` is a repository of this machine.
`#name` is a branch, a tag, or a commit's 40 hexadecimal digits; without, `main`, then `master`, then the default branch.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from cozyd.apps.archive import LARGEST_ARCHIVE, LARGEST_FILE, LEFT_OUT, Budget, check_parts
from cozyd.apps.fetched import Fetched
from cozyd.apps.manifest import LARGEST, Kind, parse
from cozyd.errors import BadRequest, CozyError, NotFound, TooLarge
from cozyd.outbound import Outbound

if TYPE_CHECKING:
    from dulwich.client import GitClient
    from dulwich.repo import BaseRepo

WITHIN = 60.0
_LINK, _MODULE = 0o120000, 0o160000


def fetch_git(outbound: Outbound, source: str, kind: Kind, slug: str, scratch: Path) -> Fetched:
    """See `sources.Fetch`."""
    from dulwich.errors import GitProtocolError, NotGitRepository
    from dulwich.repo import Repo

    parts = urlsplit(source)
    (scratch / "git").mkdir()
    try:
        with Repo.init_bare(str(scratch / "git")) as repo:
            client, path = _client(outbound, source)
            commit = _fetched(client, path, repo, parts.fragment)
            tree = _tree_of(repo, commit)
            text = _manifest_text(repo, tree, kind)
        manifest = parse(text, kind, slug)
    except CozyError:
        raise
    except (GitProtocolError, NotGitRepository) as cause:
        raise NotFound("Application manifest is not reachable") from cause
    except (KeyError, ValueError, OSError, AssertionError) as cause:
        raise BadRequest("The repository cannot be read") from cause
    return Fetched(manifest, f"{manifest.version}-{commit.decode()}", "", lambda target: _write(scratch / "git", tree, target))


def _client(outbound: Outbound, source: str) -> "tuple[GitClient, str]":
    from dulwich.client import LocalGitClient

    parts = urlsplit(source)
    if parts.scheme == "git+file":
        return LocalGitClient(), unquote(parts.path)
    scheme = "http" if parts.scheme == "git+http" else "https"
    base = urlunsplit((scheme, parts.netloc, "", "", ""))
    outbound.check(base)
    return _through(outbound, base), parts.path


def _through(outbound: Outbound, base: str) -> "GitClient":
    """A client for git's smart protocol whose requests go through `Outbound`."""
    from dulwich.client import AbstractHttpGitClient
    from dulwich.errors import GitProtocolError, NotGitRepository

    class Answered:
        """What dulwich looks at in an answer."""

        def __init__(self, url: str, answer: Any) -> None:
            self.status = answer.status
            self.headers = answer.headers
            self.content_type = answer.headers.get("content-type")
            self.redirect_location = answer.url if answer.url != url else ""

        def close(self) -> None:
            """It is read whole already."""

    class Client(AbstractHttpGitClient):
        """Requests by `Outbound`."""

        def _http_request(
            self,
            url: str,
            headers: Mapping[str, str] | None = None,
            data: bytes | Iterator[bytes] | None = None,
            raise_for_status: bool = True,
        ) -> tuple[Any, Callable[[int], bytes]]:
            body = data if data is None or isinstance(data, bytes) else b"".join(data)
            given = {"User-Agent": "git/cozyd"} | dict(headers or {})
            method = "GET" if body is None else "POST"
            answer = outbound.request(method, url, headers=given, body=body, limit_bytes=LARGEST_ARCHIVE, timeout=WITHIN)
            if raise_for_status and answer.status in (401, 403, 404):
                raise NotGitRepository
            if raise_for_status and answer.status != 200:
                raise GitProtocolError(f"the server answered {answer.status}")
            return Answered(url, answer), io.BytesIO(answer.body).read

    return Client(base)


def _fetched(client: "GitClient", path: str, repo: "BaseRepo", name: str) -> bytes:
    """Have the commit that is meant in the repository; its id."""
    found: list[bytes] = []

    def wants(refs: Mapping[Any, Any], depth: int | None = None) -> list[Any]:  # noqa: ARG001
        found.append(_meant(refs, name))
        return found

    is_commit = len(name) == 40 and all(letter in "0123456789abcdef" for letter in name)
    client.fetch(path, repo, determine_wants=wants, depth=None if is_commit else 1)
    if not found:
        raise NotFound("Application manifest is not reachable")
    return found[0]


def _meant(refs: Mapping[bytes, bytes], name: str) -> bytes:
    if len(name) == 40 and all(letter in "0123456789abcdef" for letter in name):
        return name.encode()
    named = (
        [f"refs/heads/{name}", f"refs/tags/{name}^{{}}", f"refs/tags/{name}"] if name else ["refs/heads/main", "refs/heads/master", "HEAD"]
    )
    for ref in named:
        if ref.encode() in refs:
            return refs[ref.encode()]
    raise NotFound(f"The repository has no branch or tag {name[:100]!r}" if name else "The repository has no branch")


def _tree_of(repo: "BaseRepo", id: bytes) -> bytes:
    """The tree of a commit, or of the commit a tag leads to."""
    from dulwich.objects import Commit, Tag

    for _ in range(5):
        thing = repo[id]
        if isinstance(thing, Commit):
            return bytes(thing.tree)
        if not isinstance(thing, Tag):
            break
        id = thing.object[1]
    raise BadRequest("The source names no commit")


def _manifest_text(repo: "BaseRepo", tree: bytes, kind: Kind) -> bytes:
    from dulwich.objects import Blob, Tree

    listed = repo[tree]
    assert isinstance(listed, Tree)
    for name in (f"manifest.{kind}".encode(), b"manifest.webapp", b"manifest.konnector"):
        if name in listed:
            mode, id = listed[name]
            blob = repo[id]
            if isinstance(blob, Blob) and mode != _LINK:
                if len(blob.data) > LARGEST:
                    raise BadRequest("The manifest is not valid: it has more than 2 MiB")
                return bytes(blob.data)
    raise NotFound("Application manifest is not reachable")


def _write(repository: Path, tree: bytes, target: Path) -> None:
    """Write the files of a tree below a folder."""
    from dulwich.objects import Blob
    from dulwich.repo import Repo

    budget = Budget()
    with Repo(str(repository)) as repo:
        for name, id in _walked(repo, tree, "", budget):
            blob = repo[id]
            if not isinstance(blob, Blob):
                raise BadRequest("The repository cannot be read")
            if len(blob.data) > LARGEST_FILE:
                raise TooLarge(f"A file of the app has more than {LARGEST_FILE >> 20} MiB")
            budget.take(len(blob.data))
            path = target.joinpath(*check_parts(name))
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(path, "xb") as file:
                file.write(blob.data)


def _walked(repo: "BaseRepo", tree: bytes, above: str, budget: Budget) -> Iterator[tuple[str, bytes]]:
    """Name and id of every file of a tree; a link or another repository in it is refused."""
    from dulwich.objects import Tree

    listed = repo[tree]
    if not isinstance(listed, Tree):
        raise BadRequest("The repository cannot be read")
    for entry in listed.items():
        name = above + entry.path.decode("utf-8", "surrogateescape")
        budget.entry()
        if entry.mode in (_LINK, _MODULE):
            raise BadRequest(f"The app has an entry that is no plain file, {name[:100]!r}")
        if entry.path.decode("latin-1") in LEFT_OUT:
            continue
        check_parts(name)
        if entry.mode == 0o40000:
            yield from _walked(repo, entry.sha, name + "/", budget)
        else:
            yield name, entry.sha
