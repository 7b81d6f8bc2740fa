"""The name of an index that was given none: the one CouchDB gives it, so that clients find the same on either server.

CouchDB hashes its own Erlang terms; this writes them in the external term format (erlang.org, "External Term Format").
"""

import hashlib
import struct
from collections.abc import Mapping
from typing import Any


class _Atom(str):
    """A name of Erlang's, not a text."""

    __slots__ = ()


def index_name(definition: Mapping[str, Any], *, name: str | None, ddoc: str | None) -> str:
    """The hash of an index, as 40 hex digits.

    :param definition: member `index` of the request, as it came.
    :param name: the other names that were given.
    """
    options = [
        (_Atom("ddoc"), ddoc or _Atom("auto_name")),
        (_Atom("def"), definition),
        (_Atom("name"), name or _Atom("auto_name")),
        (_Atom("partitioned"), _Atom("db_default")),
        (_Atom("type"), "json"),
        (_Atom("w"), 2),
    ]
    return hashlib.sha1(b"\x83" + _term((definition, options)), usedforsecurity=False).hexdigest()


def _term(value: Any) -> bytes:
    if isinstance(value, bool) or value is None:
        return _term(_Atom({True: "true", False: "false", None: "null"}[value]))
    if isinstance(value, _Atom):
        return b"\x64" + struct.pack(">H", len(value)) + value.encode()
    if isinstance(value, str):
        data = value.encode()
        return b"\x6d" + struct.pack(">I", len(data)) + data
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return b"\x46" + struct.pack(">d", value)
    if isinstance(value, Mapping):
        return _term(([(str(key), item) for key, item in value.items()],))
    if isinstance(value, tuple):
        return b"\x68" + bytes([len(value)]) + b"".join(map(_term, value))
    items = b"".join(map(_term, value))
    return (b"\x6c" + struct.pack(">I", len(value)) + items if value else b"") + b"\x6a"


def _integer(value: int) -> bytes:
    if 0 <= value < 256:
        return bytes([0x61, value])
    if -(2**31) <= value < 2**31:
        return b"\x62" + struct.pack(">i", value)
    data = abs(value).to_bytes((abs(value).bit_length() + 7) // 8, "little")
    return bytes([0x6E, len(data), value < 0]) + data
