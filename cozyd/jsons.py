"""The JSON library's one home: load, dump, canonical form, splice fields into a text.

Documents travel as JSON text from disk to socket; what is needed on the way (`_id`, `_rev`) is spliced in
without parsing. orjson reads nesting up to 1,024 levels and writes 254, refuses NaN and lone surrogates (BadRequest here) and
reads integers beyond 64 bits as floats; writing does the same.
"""

from typing import Any

import orjson

from cozyd.errors import BadRequest


def load(text: bytes | bytearray | str) -> Any:
    """Parse JSON text.

    :raises BadRequest: not JSON, nested too deep, or not UTF-8.
    """
    try:
        return orjson.loads(text)
    except ValueError as cause:
        raise BadRequest("invalid JSON") from cause


def load_object(text: bytes | bytearray | str) -> dict[str, Any]:
    """Parse JSON text that has to be an object.

    :raises BadRequest: not JSON, or another JSON type.
    """
    value = load(text)
    if not isinstance(value, dict):
        raise BadRequest("a JSON object is expected")
    return value


def dump(value: Any) -> bytes:
    """Write a value as compact JSON, keys in their own order; NaN becomes null.

    :raises BadRequest: it holds something JSON has no form for (a lone surrogate), or is nested deeper than 254 levels.
    """
    return _write(value, 0)


def canonical(value: Any) -> bytes:
    """Write a value so that equal values give equal bytes: keys sorted. The input of revision hashes.

    :raises BadRequest: as `dump`.
    """
    return _write(value, orjson.OPT_SORT_KEYS)


def splice(text: bytes, fields: dict[str, Any]) -> bytes:
    """Put fields in front of those of a JSON object, without parsing it.

    :param text: a compact JSON object that has none of these fields.
    :param fields: what to add, in this order.
    """
    if not fields:
        return text
    head = dump(fields)
    return head if text == b"{}" else head[:-1] + b"," + text[1:]


def _write(value: Any, option: int) -> bytes:
    try:
        return orjson.dumps(value, option=option)
    except TypeError:
        pass
    try:
        return orjson.dumps(_narrow(value), option=option)
    except (TypeError, RecursionError) as cause:
        raise BadRequest("the value has no JSON form") from cause


def _narrow(value: Any) -> Any:
    """Integers beyond 64 bits become floats, as JavaScript clients read them anyway."""
    if isinstance(value, dict):
        return {str(key): _narrow(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_narrow(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**64:
        return float(value)
    return value
