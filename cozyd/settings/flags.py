"""Feature flags: which value each has for one instance, and where it comes from (docs/http/settings.md, section Flags; pure).

Priority: instance, its sets, context of the configuration, ratio of the context, default. The first source that has a name wins.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cozyd.documents.store import Doc, Ref

_FLAGS = "io.cozy.settings.flags"
DEFAULTS = Ref("io.cozy.settings", f"{_FLAGS}.default")
"""The defaults of all instances, in tenant `global`."""
INSTANCE, MANAGER, CONFIG, CONTEXT, DEFAULT = (f"{_FLAGS}.{name}" for name in ("instance", "manager", "config", "context", "default"))
_MOST = 2**32 - 1


def ratios_of(context: str) -> Ref:
    """Where the ratios of a context lie, in tenant `global`."""
    return Ref("io.cozy.settings", f"{CONTEXT}.{context}")


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of one instance.

    :param values: flag -> JSON value.
    :param sources: id of a source -> what it says, in the order of their priority; those that say nothing are left out.
    """

    values: Doc
    sources: Sequence[tuple[str, Doc]]


def decide(
    id: str,
    own: Mapping[str, Any],
    sets: Sequence[str],
    context: Mapping[str, Any],
    ratios: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> Flags:
    """What applies to an instance.

    :param id: of its record: what ratios are drawn with.
    :param own: its own flags.
    :param sets: names of the sets that its operator gave it, which its context describes.
    :param context: its context in the configuration.
    :param ratios: flag -> `[{"ratio": 0.5, "value": true}, ...]`.
    """
    managed, config = of_sets(context, sets), of_context(context)
    drawn = {name: value for name, shares in ratios.items() if (value := draw(id, name, shares)) is not None}
    values: Doc = {}
    for found in (own, managed, config, drawn, defaults):
        values |= {name: value for name, value in found.items() if name not in values}
    sources = [(INSTANCE, dict(own)), (MANAGER, managed), (CONFIG, config), (CONTEXT, dict(ratios)), (DEFAULT, dict(defaults))]
    return Flags(values, [(name, found) for name, found in sources if found])


def of_sets(context: Mapping[str, Any], names: Sequence[str]) -> Doc:
    """What the key `feature_sets` of a context says of some sets: name -> flags; of two that have a flag the first one's counts."""
    described = context.get("feature_sets")
    found: Doc = {}
    for name in names:
        flags = described.get(name) if isinstance(described, Mapping) else None
        found = (dict(flags) if isinstance(flags, Mapping) else {}) | found
    return found


def of_context(context: Mapping[str, Any]) -> Doc:
    """The key `features` of a context: a table, or a list of names (true) and of tables with one name."""
    features = context.get("features")
    if isinstance(features, Mapping):
        return dict(features)
    found: Doc = {}
    for item in features if isinstance(features, list) else ():
        found |= item if isinstance(item, Mapping) and len(item) == 1 else {str(item): True}
    return found


def draw(id: str, name: str, shares: Any) -> Any:
    """The value an instance draws, always the same; None: none of them.

    :param shares: what each share of all instances gets; their ratios add up to 1 at most.
    """
    number = zlib.crc32(f"{id}:{name}".encode())
    for share in shares if isinstance(shares, list) else ():
        ratio = share.get("ratio") if isinstance(share, dict) else None
        if not isinstance(ratio, int | float) or isinstance(ratio, bool) or ratio <= 0:
            continue
        width = int(min(ratio, 1) * _MOST)
        if number <= width:
            return share.get("value")
        number -= width
    return None
