"""Mango selectors: check them, and compile them into functions (pure; no SQL).

The semantics are CouchDB 3.5's: conditions on a missing field never match, but `$exists: false`; values of any type
compare in CouchDB's order, `_id` by bytes; field names and negations are pushed down to the conditions. Regular expressions
run in RE2, whose time is linear in the text, so that no pattern can hang the server; what RE2 does not know (look-around,
back-references) is refused.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cozyd.documents import collation, regex
from cozyd.documents.store import Doc
from cozyd.errors import BadRequest

Test = Callable[[Any], bool]
Path = tuple[str, ...]

MISSING = object()
"""There is no such field."""
NO_PATH = object()
"""The field would lie below a value that has no fields."""
_TYPES: Mapping[str, Test] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
_INVERSE = {"$lt": "$gte", "$gte": "$lt", "$gt": "$lte", "$lte": "$gt", "$eq": "$ne", "$ne": "$eq", "$in": "$nin", "$nin": "$in"}
_NESTED = ("$elemMatch", "$allMatch", "$keyMapMatch")
_LONGEST_PATTERN = 2048
_DEEPEST = 100
_ID = ("_id",)
_EXACT = (str, int, bool, type(None))
"""Types whose equal values are always equal in CouchDB's order."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator on the current value; `node` of those that hold a selector of their own."""

    operator: str
    argument: Any = None
    node: "Node | None" = None


@dataclass(frozen=True, slots=True)
class Field:
    """What a field's value has to be; once normalised, a condition, or a negated one."""

    path: Path
    node: "Node"


@dataclass(frozen=True, slots=True)
class Combination:
    """`and`, `or` of several nodes; `not` of one."""

    kind: str
    nodes: tuple["Node", ...]


Node = Condition | Field | Combination


def parse(selector: Any) -> Node:
    """Read and normalise a selector.

    :raises BadRequest: `invalid_operator`, an operator's argument is of the wrong type (`bad_arg`), or it is nested too deep.
    """
    if not isinstance(selector, Mapping):
        raise BadRequest(f"Selector must be a JSON object, not: {shown(selector)}", error="invalid_selector_json")
    if _is_deeper(selector, _DEEPEST):
        raise BadRequest(f"Selector is nested deeper than {_DEEPEST} levels", error="invalid_selector_json")
    return _normalised(_parse_object(selector))


def matcher(selector: Mapping[str, Any]) -> Callable[[Doc], bool]:
    """A function that tells whether a document matches.

    :raises BadRequest: as `parse`.
    """
    return compile_node(parse(selector))


def field_path(name: str) -> Path:
    """The parts of a field's name; a dot escaped by a backslash belongs to its part."""
    return _split(name)


def check_field_name(name: str) -> None:
    """:raises BadRequest: a part of it is empty."""
    if "" in field_path(name):
        raise BadRequest(f"Invalid field name: {name[:200]}", error="invalid_field_name")


@lru_cache(maxsize=4096)
def _split(name: str) -> Path:
    if "\\" not in name:
        return tuple(name.split("."))
    return tuple(part.replace("\\.", ".").replace("\\\\", "\\") for part in re.split(r"(?<!\\)\.", name))


def value_at(value: Any, path: Path) -> Any:
    """The value at a path, `MISSING` when there is none; array elements are reached by number."""
    found = _look(value, path)
    return MISSING if found is NO_PATH else found


def _look(value: Any, path: Path) -> Any:
    """As `value_at`; `NO_PATH` where there could be none."""
    for part in path:
        if isinstance(value, Mapping):
            value = value.get(part, MISSING)
        elif isinstance(value, list) and part.isascii() and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return NO_PATH
        if value is MISSING:
            return MISSING
    return value


# -- parsing ------------------------------------------------------------------------------------------------------------


def _is_deeper(value: Any, levels: int) -> bool:
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, list):
        return False
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in value)


def _normalised(node: Node) -> Node:
    return _push_negations(_push_fields(node, ()), negated=False)


def _parse_object(selector: Mapping[str, Any]) -> Node:
    nodes = tuple(_parse_member(name, argument) for name, argument in selector.items())
    return nodes[0] if len(nodes) == 1 else Combination("and", nodes)


def _parse_member(name: str, argument: Any) -> Node:
    if name.startswith("$"):
        return _parse_operator(name, argument)
    if not name:
        raise BadRequest("One or more conditions is missing a field name.", error="invalid_selector")
    check_field_name(name)
    return Field(field_path(name), _parse_value(argument))


def _parse_value(argument: Any) -> Node:
    """What stands behind a field: a literal, operators, or sub-fields."""
    if not isinstance(argument, Mapping) or not argument:
        return Condition("$eq", argument)
    return _parse_object(argument)


def _parse_operator(name: str, argument: Any) -> Node:
    if name in ("$and", "$or", "$nor"):
        _expect(isinstance(argument, list), name, argument)
        nodes = tuple(map(_parse_value, argument))
        if name == "$nor":
            return Combination("not", (Combination("or", nodes),))
        return Combination(name[1:], nodes)
    if name == "$not":
        _expect(isinstance(argument, Mapping), name, argument)
        return Combination("not", (_parse_value(argument),))
    if name in _NESTED:
        _expect(isinstance(argument, Mapping), name, argument)
        return Condition(name, argument, _normalised(_parse_value(argument)))
    check = _ARGUMENTS.get(name)
    if check is None or (name in _TEXTUAL and not isinstance(argument, str)):
        raise BadRequest(f"Invalid operator: {name}", error="invalid_operator")
    _expect(check(argument), name, argument)
    if name == "$regex":
        _pattern(argument)
    return Condition(name, argument)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_ARGUMENTS: Mapping[str, Test] = {
    **dict.fromkeys(("$lt", "$lte", "$eq", "$ne", "$gte", "$gt"), lambda _: True),
    **dict.fromkeys(("$in", "$nin", "$all"), lambda argument: isinstance(argument, list)),
    "$exists": lambda argument: isinstance(argument, bool),
    "$type": lambda argument: isinstance(argument, str),
    "$size": lambda argument: _is_whole(argument) and argument >= 0,
    "$mod": lambda argument: isinstance(argument, list) and len(argument) == 2 and all(map(_is_whole, argument)) and argument[0] != 0,
    "$regex": lambda argument: len(argument) <= _LONGEST_PATTERN,
    "$beginsWith": lambda _: True,
}
_TEXTUAL = ("$regex", "$beginsWith")
"""Operators that CouchDB does not know with another argument than a text."""


def _expect(holds: bool, name: str, argument: Any) -> None:
    if not holds:
        _refuse(name, argument)


def _refuse(name: str, argument: Any) -> Node:
    raise BadRequest(f"Bad argument for operator {name}: {shown(argument)}", error="bad_arg")


def shown(value: Any, *, text: Callable[[str], str] | None = None) -> str:
    """The beginning of a value as CouchDB's messages show it: a text as its bytes.

    :param text: how texts are shown instead.
    """
    return _shown(value, text or _text_bytes)[:200]


def _shown(value: Any, text: Callable[[str], str]) -> str:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Mapping):
        return "{[" + ",".join(f"{{{_shown(name, text)},{_shown(item, text)}}}" for name, item in value.items()) + "]}"
    if isinstance(value, list):
        return f"[{','.join(_shown(item, text) for item in value)}]"
    return "null" if value is None else str(value).lower()


def _text_bytes(text: str) -> str:
    return f"<<{','.join(map(str, text[:100].encode('utf-8', 'replace')))}>>"


def _push_fields(node: Node, path: Path) -> Node:
    """The same selector with field names at the conditions only: `{a: {$or: [x, y]}}` is `{$or: [{a: x}, {a: y}]}`."""
    if isinstance(node, Field):
        return _push_fields(node.node, path + node.path)
    if isinstance(node, Combination):
        return Combination(node.kind, tuple(_push_fields(one, path) for one in node.nodes))
    return Field(path, node) if path else node


def _push_negations(node: Node, *, negated: bool) -> Node:
    """The same selector with every `not` at a condition, or gone."""
    if isinstance(node, Field):
        return Field(node.path, _push_negations(node.node, negated=negated))
    if isinstance(node, Combination):
        if node.kind == "not":
            return _push_negations(node.nodes[0], negated=not negated)
        kind = {"and": "or", "or": "and"}[node.kind] if negated else node.kind
        return Combination(kind, tuple(_push_negations(one, negated=negated) for one in node.nodes))
    if not negated:
        return node
    if node.operator in _INVERSE:
        return Condition(_INVERSE[node.operator], node.argument)
    if node.operator == "$exists":
        return Condition("$exists", not node.argument)
    return Combination("not", (node,))


# -- compiling ----------------------------------------------------------------------------------------------------------


def compile_node(node: Node) -> Test:
    """A node as a function of the current value."""
    if isinstance(node, Field):
        return _compile_field(node)
    if isinstance(node, Condition):
        return _compile_condition(node)
    tests = [compile_node(one) for one in node.nodes]
    if node.kind == "not":
        return lambda value: not tests[0](value)
    if node.kind == "or" and tests:  # CouchDB has an empty one hold, too
        return lambda value: any(test(value) for test in tests)
    return lambda value: all(test(value) for test in tests)


def _compile_field(field: Field) -> Test:
    test, path = _compile_id(field.node) if field.path == _ID else compile_node(field.node), field.path
    absent = isinstance(field.node, Condition) and field.node.operator == "$exists" and field.node.argument is False

    def match(value: Any) -> bool:
        found = _look(value, path)
        if found is MISSING or found is NO_PATH:
            return absent and found is MISSING
        return test(found)

    return match


def _compile_id(node: Node) -> Test:
    """A condition on `_id`: texts compare by their bytes there."""
    if isinstance(node, Combination):
        inner = _compile_id(node.nodes[0])
        return lambda value: not inner(value)
    if not isinstance(node, Condition) or node.operator not in _RAW:
        return compile_node(node)
    if not isinstance(node.argument, str):  # every text lies behind every other value
        return lambda _: node.operator in ("$ne", "$gt", "$gte")
    compare, argument = _RAW[node.operator], node.argument
    return lambda value: isinstance(value, str) and compare(value, argument)


_RAW: Mapping[str, Callable[[str, str], bool]] = {
    "$eq": operator.eq,
    "$ne": operator.ne,
    "$lt": operator.lt,
    "$lte": operator.le,
    "$gt": operator.gt,
    "$gte": operator.ge,
}


def _compile_condition(condition: Condition) -> Test:
    name, argument = condition.operator, condition.argument
    if name in ("$eq", "$ne"):
        equal = _equals(argument)
        return equal if name == "$eq" else lambda value: not equal(value)
    if name in ("$lt", "$lte", "$gt", "$gte"):
        return _compare(name, argument)
    if name in ("$in", "$nin"):
        within = _within(argument)
        return within if name == "$in" else lambda value: not within(value)
    if condition.node is not None:
        return _compile_nested(name, compile_node(condition.node))
    if name == "$type":
        return _TYPES.get(argument, lambda _: False)
    return _COMPILERS[name](argument)


def _equals(argument: Any) -> Test:
    wanted, kind = collation.key(argument), type(argument) if isinstance(argument, _EXACT) else None

    def equal(value: Any) -> bool:
        if type(value) is kind and value == argument:
            return True
        return collation.key(value) == wanted

    return equal


def _compare(name: str, argument: Any) -> Test:
    bound = collation.key(argument)
    tests: Mapping[str, Test] = {
        "$lt": lambda value: collation.key(value) < bound,
        "$lte": lambda value: collation.key(value) <= bound,
        "$gt": lambda value: collation.key(value) > bound,
        "$gte": lambda value: collation.key(value) >= bound,
    }
    return tests[name]


def _within(arguments: Sequence[Any]) -> Test:
    wanted = {collation.key(argument) for argument in arguments}

    def within(value: Any) -> bool:
        if isinstance(value, list) and any(collation.key(item) in wanted for item in value):
            return True
        return collation.key(value) in wanted

    return within


def _compile_nested(name: str, test: Test) -> Test:
    if name == "$elemMatch":
        return lambda value: isinstance(value, list) and any(test(item) for item in value)
    if name == "$allMatch":
        return lambda value: isinstance(value, list) and bool(value) and all(test(item) for item in value)
    return lambda value: isinstance(value, dict) and any(test(name) for name in value)


def _all(arguments: Sequence[Any]) -> Test:
    tests = [_equals(argument) for argument in arguments]

    def match(value: Any) -> bool:
        if not isinstance(value, list) or not tests:
            return False
        if len(arguments) == 1 and isinstance(arguments[0], list) and tests[0](value):
            return True
        return all(any(test(item) for item in value) for test in tests)

    return match


def _pattern(text: str) -> Callable[[str], bool]:
    try:
        return regex.compiled(text)
    except ValueError as cause:
        raise BadRequest(f"Bad argument for operator $regex: {shown(text)}", error="bad_arg") from cause


def _regex(text: str) -> Test:
    matches = _pattern(text)
    return lambda value: isinstance(value, str) and matches(value)


def _mod(argument: Sequence[int]) -> Test:
    divisor, remainder = argument

    def match(value: Any) -> bool:
        # Erlang's rem has the sign of the dividend
        return _is_whole(value) and (abs(value) % abs(divisor)) * (1 if value >= 0 else -1) == remainder

    return match


_COMPILERS: Mapping[str, Callable[[Any], Test]] = {
    "$exists": lambda argument: lambda _: bool(argument),
    "$size": lambda argument: lambda value: isinstance(value, list) and len(value) == argument,
    "$beginsWith": lambda argument: lambda value: isinstance(value, str) and value.startswith(argument),
    "$all": _all,
    "$regex": _regex,
    "$mod": _mod,
}
