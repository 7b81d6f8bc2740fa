"""Mango queries: index definitions, the choice of an index, and the key ranges to read (pure; no SQL).

An index serves a query only when the selector demands all its fields, because it holds only documents that have them
all; a sort needs an index with these fields in this order. The conditions that the ranges do not decide are left to the
one matcher of `selector.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cozyd.documents import collation
from cozyd.documents.selector import MISSING, Combination, Condition, Field, Node, Path, field_path, matcher, parse, value_at
from cozyd.documents.store import Doc, Key, Map, Query
from cozyd.errors import BadRequest

__all__ = ["Index", "Plan", "check", "design_of", "index_from_design", "matcher", "plan", "project"]

NO_INDEX = "No matching index found, create an index to optimize query time."
MIXED_SORT = "Sorts currently only support a single direction for all fields."
NO_SORT = "No index exists for this sort, try indexing by the sort fields."
_ID = ("_id",)
_BOUNDS = ("$lt", "$lte", "$gt", "$gte", "$beginsWith")
_IMPLICIT = frozenset((_ID, ("_rev",)))
Range = tuple[bytes, bytes]


def check(selector: Any) -> None:
    """Refuse a selector that CouchDB would refuse.

    :raises BadRequest: `invalid_operator`, `bad_arg`...
    """
    parse(selector)


@dataclass(frozen=True)
class Index:
    """One index of a design document of language `query`.

    :param ddoc: the design document's name, without `_design/`.
    :param where: partial filter: only documents it matches are in the index.
    """

    ddoc: str
    name: str
    fields: tuple[str, ...]
    where: Map | None = None

    @cached_property
    def paths(self) -> tuple[Path, ...]:
        """The fields' paths."""
        return tuple(field_path(name) for name in self.fields)

    @cached_property
    def _admits(self) -> Any:
        return matcher(self.where) if self.where else None

    def keys(self, doc: Doc) -> Key | None:
        """The key of a document's row; None: it lacks a field, or the partial filter excludes it."""
        values = tuple(value_at(doc, path) for path in self.paths)
        if any(value is MISSING for value in values):
            return None
        if self._admits is not None and not self._admits(doc):
            return None
        return values


@dataclass(frozen=True, slots=True)
class Plan:
    """How to answer a query.

    :param index: None: read by id.
    :param ranges: start inclusive, stop exclusive, of `collation.tuple_key` bytes (of UTF-8 ids without an index).
    :param covered: the ranges decide the selector: nothing is left for the matcher.
    """

    index: Index | None
    ranges: Sequence[Range]
    descending: bool
    covered: bool
    warning: str | None


# -- definitions --------------------------------------------------------------------------------------------------------


def design_of(index: Index) -> Doc:
    """The design document of an index, in CouchDB's shape."""
    view = {
        "map": {"fields": dict.fromkeys(index.fields, "asc"), "partial_filter_selector": dict(index.where or {})},
        "reduce": "_count",
        "options": {"def": {"fields": list(index.fields)} | ({"partial_filter_selector": dict(index.where)} if index.where else {})},
    }
    return {"_id": f"_design/{index.ddoc}", "language": "query", "views": {index.name: view}}


def index_from_design(doc: Doc) -> Sequence[Index]:
    """The indexes a design document describes; none when it is of another language or shape, or its filter cannot be read."""
    if doc.get("language") != "query" or not isinstance(doc.get("views"), Mapping):
        return ()
    found = []
    for name, view in doc["views"].items():
        map_part = view.get("map") if isinstance(view, Mapping) else None
        if not isinstance(map_part, Mapping):
            continue
        fields = map_part.get("fields")
        if not isinstance(fields, Mapping):
            continue
        where = map_part.get("partial_filter_selector") or None
        if where is None or _is_selector(where):
            found.append(Index(str(doc["_id"]).removeprefix("_design/"), str(name), tuple(fields), where))
    return found


def _is_selector(value: Any) -> bool:
    try:
        check(value)
    except BadRequest:
        return False
    return True


def project(doc: Doc, fields: Sequence[str]) -> Doc:
    """A document cut to some fields, nested ones in their place."""
    found: Doc = {}
    for name in fields:
        path = field_path(name)
        value = value_at(doc, path)
        if value is MISSING:
            continue
        inner = found
        for part in path[:-1]:
            below = inner.setdefault(part, {})
            if not isinstance(below, dict):
                break
            inner = below
        inner[path[-1]] = value
    return found


# -- planning -----------------------------------------------------------------------------------------------------------


def plan(query: Query, indexes: Sequence[Index]) -> Plan:
    """Choose how to answer a query.

    :raises BadRequest: the selector is malformed, or no index has the sort's order (`no_usable_index`).
    """
    node = parse(query.selector)
    conditions = _conjuncts(node)
    sort = [field_path(name) for name, _ in query.sort]
    if len({direction for _, direction in query.sort}) > 1:
        raise BadRequest(MIXED_SORT, error="unsupported_mixed_sort")
    descending = bool(query.sort) and query.sort[0][1] == "desc"
    usable = [index for index in indexes if _is_usable(index, node, conditions, sort, query.index)]
    wanted = [index for index in usable if _is_named(index, query.index)] if query.index else []
    if wanted or usable:
        best = min(wanted or usable, key=lambda index: (-_bound_fields(index, conditions), len(index.fields), index.ddoc, index.name))
        ranges, used = _ranges(best, conditions)
        covered = _is_covered(node, conditions, used)
        return Plan(best, ranges, descending, covered, _not_used(query) if query.index and not wanted else None)
    if sort and not (sort == [_ID] and any(path == _ID for path, _, _ in conditions)):
        raise BadRequest(NO_SORT, error="no_usable_index")
    warning = f"{_not_used(query)}\n{NO_INDEX}" if query.index else NO_INDEX
    return Plan(None, [_id_range(conditions)], descending, False, warning)


Conjunct = tuple[Path, str, Any]


def _conjuncts(node: Node) -> list[Conjunct]:
    """The simple conditions that every match fulfils."""
    if isinstance(node, Field) and isinstance(node.node, Condition):
        return [(node.path, node.node.operator, node.node.argument)]
    if isinstance(node, Combination) and node.kind == "and":
        return [one for inner in node.nodes for one in _conjuncts(inner)]
    return []


def _demands(node: Node, path: Path) -> bool:
    """Whether every document that matches has the field."""
    if isinstance(node, Field):
        return node.path == path and not (
            isinstance(node.node, Condition) and node.node.operator == "$exists" and node.node.argument is False
        )
    if isinstance(node, Combination) and node.kind == "and":
        return any(_demands(inner, path) for inner in node.nodes)
    if isinstance(node, Combination) and node.kind == "or":
        return bool(node.nodes) and all(_demands(inner, path) for inner in node.nodes)
    return False


def _is_usable(index: Index, node: Node, conditions: Sequence[Conjunct], sort: Sequence[Path], named: tuple[str, ...]) -> bool:
    if (index.where or not index.fields) and not (named and _is_named(index, named)):
        return False  # one that leaves documents out, or is in no order, is only used by who names it
    demanded = all(path in _IMPLICIT or path in sort or _demands(node, path) for path in index.paths)
    return demanded and _has_order(index, conditions, sort)


def _has_order(index: Index, conditions: Sequence[Conjunct], sort: Sequence[Path]) -> bool:
    """Whether the index gives the sort's order: its fields begin with the sort's, but for fields with one value."""
    if not sort:
        return True
    constant = {path for path, operator, _ in conditions if operator == "$eq"}
    paths = list(index.paths)
    while paths and paths[: len(sort)] != list(sort) and paths[0] in constant:
        paths.pop(0)
    return paths[: len(sort)] == list(sort)


def _is_named(index: Index, name: tuple[str, ...]) -> bool:
    return index.ddoc == name[0] and (len(name) == 1 or index.name == name[1])


def _not_used(query: Query) -> str:
    name = ", ".join((f"_design/{query.index[0]}", *query.index[1:]))
    reason = "is not a valid index" if len(query.index) > 1 else "does not contain a valid index"
    return f"{name} was not used because it {reason} for this query."


def _bound_fields(index: Index, conditions: Sequence[Conjunct]) -> int:
    """How many leading fields the ranges narrow."""
    bound = {path for path, operator, _ in conditions if operator == "$eq" or operator in _BOUNDS}
    count = 0
    for path in index.paths:
        if path not in bound:
            break
        count += 1
    return count


def _ranges(index: Index, conditions: Sequence[Conjunct]) -> tuple[list[Range], list[Conjunct]]:
    """Key ranges: equal leading fields, then bounds of the next one; and the conditions they decide.

    `_id` compares by bytes, keys by collation: only the matcher decides about its bounds.
    """
    prefix = b""
    used: list[Conjunct] = []
    for path in index.paths:
        equal = next((one for one in conditions if one[0] == path and one[1] == "$eq"), None)
        if equal is not None:
            prefix += collation.key(equal[2])
            used += [equal] if path != _ID else []
            continue
        bounds = [one for one in conditions if one[0] == path != _ID and one[1] in _BOUNDS]
        return [_bounded(prefix, bounds)], used + [one for one in bounds if one[1] != "$beginsWith"]
    return [(prefix, prefix + collation.AFTER)], used


def _bounded(prefix: bytes, bounds: Sequence[Conjunct]) -> Range:
    start, stop = prefix, prefix + collation.AFTER
    for _, operator, argument in bounds:
        if operator == "$beginsWith":
            start = max(start, prefix + collation.prefix_key(argument))
            stop = min(stop, prefix + collation.prefix_key(argument) + collation.AFTER * 2)
            continue
        at = prefix + collation.key(argument)
        if operator == "$gte":
            start = max(start, at)
        elif operator == "$gt":
            start = max(start, at + collation.AFTER)
        elif operator == "$lt":
            stop = min(stop, at)
        else:
            stop = min(stop, at + collation.AFTER)
    return start, stop


def _is_covered(node: Node, conditions: Sequence[Conjunct], used: Sequence[Conjunct]) -> bool:
    """Every part of the selector is a simple condition, and the ranges have decided each."""
    return _size(node) == len(conditions) == len(used)


def _size(node: Node) -> int:
    if isinstance(node, Field):
        return _size(node.node)
    if isinstance(node, Combination):
        return sum(map(_size, node.nodes)) if node.kind == "and" else 1_000_000
    return 1


def _id_range(conditions: Sequence[Conjunct]) -> Range:
    """Ids in byte order; bounds of other types than text leave the range open: the matcher decides."""
    start, stop = b"", b"\xff"
    for path, operator, argument in conditions:
        if path != _ID or not isinstance(argument, str):
            continue
        at = argument.encode("utf-8", "replace")
        if operator in ("$eq", "$gte", "$gt"):
            start = max(start, at)
        if operator in ("$eq", "$lte"):
            stop = min(stop, at + b"\0")
        elif operator == "$lt":
            stop = min(stop, at)
    return start, stop
