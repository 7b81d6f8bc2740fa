"""Mango requests as JSON: the bodies of `_find` and `_index`, read and refused in CouchDB's words (pure)."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NoReturn, cast

from cozyd.documents.index_name import index_name
from cozyd.documents.mango import MIXED_SORT, Index
from cozyd.documents.selector import check_field_name, parse, shown
from cozyd.documents.store import Doc, Query
from cozyd.errors import BadRequest

LARGEST_NUMBER = 2**62
"""What limit and skip are cut to: SQLite's integers end there."""
_QUERY_KEYS = frozenset(
    "selector limit skip sort fields use_index allow_fallback bookmark r conflicts stale update stable execution_stats partition".split()
)
_FLAGS = ("conflicts", "update", "stable", "execution_stats", "allow_fallback")
_INDEX_KEYS = frozenset(("index", "type", "name", "ddoc", "w", "partitioned"))
_DEFINITION_KEYS = frozenset(("fields", "partial_filter_selector"))

Sort = tuple[tuple[str, Literal["asc", "desc"]], ...]


def parse_query(asked: Doc, *, limit: int = 25) -> Query:
    """Read the body of a `_find`.

    :param limit: how many documents when it does not say.
    :raises BadRequest: a member is missing, unknown, or of the wrong type.
    """
    _only(asked, _QUERY_KEYS)
    if "selector" not in asked:
        raise BadRequest("Missing required key: selector", error="missing_required_key")
    for name in _FLAGS:
        if name in asked and not isinstance(asked[name], bool):
            _wrong("invalid_boolean", f"Invalid boolean value: {shown(asked[name])}")
    parse(asked["selector"])
    query = Query(
        asked["selector"],
        sort=_sort(asked.get("sort", [])),
        fields=_fields(asked.get("fields", [])),
        limit=_number(asked.get("limit", limit)),
        skip=_number(asked.get("skip", 0)),
        bookmark=_bookmark(asked.get("bookmark")),
        index=_use_index(asked.get("use_index")),
    )
    if asked.get("allow_fallback") is False and not query.index:
        _wrong("invalid_index", "You must specify an index with the `use_index` parameter.")
    return query


def parse_index(asked: Doc) -> Index:
    """Read the body of a request to `_index`.

    :raises BadRequest: a member is missing, unknown, or of the wrong type.
    """
    _only(asked, _INDEX_KEYS)
    if "index" not in asked:
        raise BadRequest("Missing required key: index", error="missing_required_key")
    definition = asked["index"]
    if not isinstance(definition, Mapping):
        _wrong("invalid_index", f"JSON indexes must be an object, not: {shown(definition)}")
    if asked.get("type", "json") != "json":
        _wrong("invalid_index", f"Invalid type for index: {str(asked['type'])[:100]}")
    _only(definition, _DEFINITION_KEYS)
    if "fields" not in definition:
        raise BadRequest("Missing required key: fields", error="missing_required_key")
    sort = _sort(definition["fields"])  # CouchDB takes none, and cozy-client sends that
    where = definition.get("partial_filter_selector")
    if where is not None:
        parse(where)
    fields = tuple(name for name, _ in sort)
    ddoc, name = (_name(asked[key]) if key in asked else None for key in ("ddoc", "name"))
    own = index_name(definition, name=name, ddoc=ddoc)
    return Index((ddoc or own).removeprefix("_design/"), name or own, fields, where or None)


def _only(asked: Mapping[str, Any], known: frozenset[str]) -> None:
    for name in asked:
        if name not in known:
            _wrong("invalid_key", f"Invalid key {name[:100]} for this request.")


def _wrong(error: str, reason: str) -> NoReturn:
    raise BadRequest(reason, error=error)


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        _wrong("invalid_non_neg_integer", f"{shown(value)} is not an integer greater than or equal to zero")
    return min(value, LARGEST_NUMBER)


def _sort(given: Any) -> Sort:
    if not isinstance(given, list):
        _wrong("invalid_sort_json", f"Sort must be an array of sort specs, not: {_named(given)}")
    found = [_sort_field(item) for item in given]
    if len({direction for _, direction in found}) > 1:
        _wrong("unsupported_mixed_sort", MIXED_SORT)
    return tuple(found)


def _sort_field(item: Any) -> tuple[str, Literal["asc", "desc"]]:
    pairs = list(item.items()) if isinstance(item, Mapping) else [(item, "asc")]
    if len(pairs) != 1 or not isinstance(pairs[0][0], str) or not pairs[0][0] or pairs[0][1] not in ("asc", "desc"):
        _wrong("invalid_sort_field", f"Invalid sort field: {_named(item)}")
    check_field_name(pairs[0][0])
    return cast(tuple[str, Literal["asc", "desc"]], pairs[0])


def _fields(given: Any) -> list[str] | None:
    if not isinstance(given, list):
        _wrong("invalid_fields", f"Fields must be an array of strings, not: {shown(given)}")
    for name in given:
        if not isinstance(name, str):
            _wrong("invalid_field", f"Invalid JSON for field spec: {shown(name)}")
        check_field_name(name)
    return given or None


def _bookmark(given: Any) -> str | None:
    if given is not None and not isinstance(given, str):
        _wrong("invalid_bookmark", f"Invalid bookmark value: {shown(given)}")
    return given or None


def _use_index(given: Any) -> tuple[str, ...]:
    parts = [given] if isinstance(given, str) else given
    if parts in (None, [], [""]):
        return ()
    if not (isinstance(parts, list) and len(parts) <= 2 and all(isinstance(part, str) for part in parts)):
        _wrong("invalid_index_name", f"Invalid index name: {shown(given)}")
    return tuple(part.removeprefix("_design/") for part in parts)


def _name(given: Any) -> str:
    if not isinstance(given, str):
        _wrong("invalid_string", f"Invalid string: {shown(given)}")
    if not given:
        _wrong("invalid_empty_string", "Index name or ddoc cannot be empty string")
    return given


def _named(value: Any) -> str:
    """As `shown`, with texts to be read: two of CouchDB's messages have them so."""
    readable: Callable[[str], str] = lambda text: f'<<"{text[:100]}">>' if text else "<<>>"  # noqa: E731
    return shown(value, text=readable)
