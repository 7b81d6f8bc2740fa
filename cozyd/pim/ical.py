"""`io.cozy.calendar.events` and `.todos` <-> iCalendar (pure; RFC 5545; the table is in docs/pim.md).

One object is one document: a master and its overridden instances. An object that came by CalDAV is kept as it was sent;
`patch` changes only the lines of the fields an app has changed.
"""

from collections.abc import Mapping

from cozyd.documents.store import Doc, Map
from cozyd.errors import Invalid
from cozyd.pim import occurrence, times
from cozyd.pim.calfields import FIELDS
from cozyd.pim.content import Component, make, tree
from cozyd.pim.fields import OVERRIDES, is_object, look, place, text_of, tidy
from cozyd.pim.mapped import MOST_ITEMS, Context, Mapped
from cozyd.pim.zones import Zones

LARGEST = 1 << 20
EVENTS, TODOS, JOURNALS = "io.cozy.calendar.events", "io.cozy.calendar.todos", "io.cozy.calendar.journals"
COMPONENTS: Mapping[str, str] = {"VEVENT": EVENTS, "VTODO": TODOS, "VJOURNAL": JOURNALS}
USUAL = ("VEVENT", "VTODO")
"""What a calendar takes that was not made for something else."""
MOST_OVERRIDES = 2000
_OWN_STAMPS = ("DTSTAMP", "LAST-MODIFIED")


def parse(raw: bytes) -> Component:
    """A calendar object resource (RFC 4791, section 4.1).

    :raises Invalid: `valid-calendar-data`, `valid-calendar-object-resource`, `supported-calendar-component` or `max-resource-size`.
    """
    if len(raw) > LARGEST:
        raise Invalid("The object is larger than 1 MiB", source="max-resource-size")
    try:
        calendar = tree(raw, "VCALENDAR")
    except Invalid as error:
        raise Invalid(error.detail, source="valid-calendar-data") from error
    if calendar.value("VERSION").strip() not in ("", "2.0"):
        raise Invalid("iCalendar 2.0 is expected", source="valid-calendar-data")
    if calendar.get("METHOD") is not None:
        raise Invalid("METHOD is for invitations, not for stored objects", source="valid-calendar-object-resource")
    mine = [one for one in calendar.components() if one.name != "VTIMEZONE"]
    kinds = {one.name for one in mine}
    if not kinds:
        raise Invalid("There is no event, todo or journal in it", source="valid-calendar-object-resource")
    if len(kinds) != 1:
        raise Invalid(f"One kind of component is expected, not {', '.join(sorted(kinds))}", source="valid-calendar-object-resource")
    if not kinds <= COMPONENTS.keys():
        raise Invalid(f"{min(kinds)} is not stored here", source="supported-calendar-component")
    _check_components(calendar, mine)
    return calendar


def _check_components(calendar: Component, mine: list[Component]) -> None:
    uids = {one.value("UID").strip() for one in mine}
    if uids == {""}:
        raise Invalid("The object has no UID", source="valid-calendar-object-resource")
    if len(uids) != 1:
        raise Invalid("All components of an object have one UID", source="valid-calendar-object-resource")
    if len([one for one in mine if one.get("RECURRENCE-ID") is None]) > 1:
        raise Invalid("The object has two masters", source="valid-calendar-object-resource")
    if len(mine) > MOST_OVERRIDES:
        raise Invalid("The object has too many overridden instances", source="max-instances")
    zones = Zones(calendar)
    for one in mine:
        _check_lists(one)
        start = one.get("DTSTART")
        if start is None and one.name == "VEVENT":
            raise Invalid("An event needs a DTSTART", source="valid-calendar-data")
        if start is not None and times.read(start, zones) is None:
            raise Invalid("DTSTART is no time", source="valid-calendar-data")


def _check_lists(component: Component) -> None:
    """:raises Invalid: it lists too many dates, alarms or people."""
    dates = sum(line.value.count(",") + 1 for name in ("RDATE", "EXDATE") for line in component.all(name))
    if dates > MOST_OVERRIDES:
        raise Invalid("The object lists too many dates", source="max-instances")
    if len(component.components()) > MOST_ITEMS or len(component.all("ATTENDEE")) > MOST_ITEMS:
        raise Invalid(f"The object has more than {MOST_ITEMS:,} alarms or people", source="max-resource-size")


def kind_of(calendar: Component) -> str:
    """VEVENT, VTODO or VJOURNAL."""
    return next(one.name for one in calendar.components() if one.name in COMPONENTS)


def uid_of(calendar: Component) -> str:
    """The object's UID."""
    return main_of(calendar).value("UID").strip()


def main_of(calendar: Component) -> Component:
    """The master; of an object that has none, its first overridden instance."""
    mine = calendar.components(*COMPONENTS)
    return next((one for one in mine if one.get("RECURRENCE-ID") is None), mine[0])


def fields_of(kind: str) -> tuple[Mapped, ...]:
    """What is mapped of a kind of component."""
    return FIELDS[kind]


def read(calendar: Component) -> Doc:
    """The JSON fields an object maps to, by dotted path; absent ones are None."""
    context = Context(calendar, Zones(calendar))
    main = main_of(calendar)
    found = {one.path: tidy(one.read(main, context)) for one in fields_of(main.name)}
    if main.get("RECURRENCE-ID") is not None:
        return found | {"orphan": True, "overrides": None}
    return found | {"overrides": occurrence.read_overrides(calendar, main, context), "orphan": None}


def apply(calendar: Component, doc: Doc, fields: Map | None = None) -> Doc:
    """A document with the fields of an object; what an object has no place for stays.

    :param fields: what `read` has given of the object.
    """
    found = dict(doc)
    for path, value in (fields if fields is not None else read(calendar)).items():
        place(found, path, value)
        if path == OVERRIDES and value:
            found[path] = value  # those that are empty, too
    return with_bounds(_fitted(found), kind_of(calendar))


def patch(calendar: Component, doc: Doc, changed: set[str]) -> None:
    """Change the lines of these fields, and no other."""
    context = Context(calendar, Zones(calendar))
    main = main_of(calendar)
    if main.get("RECURRENCE-ID") is not None:
        return
    before, organizer = main.get("DTSTART"), main.get("ORGANIZER")
    known = times.read(before, context.zones) if before is not None else None
    changed = _mappable(main.name, doc, changed)
    for one in fields_of(main.name):
        if one.path in changed:
            one.write(main, look(doc, one.path), doc, context)
    now = main.get("DTSTART")
    moved = times.read(now, context.zones) if now is not None else None
    if known is not None and moved is not None and known.all_day == moved.all_day and known.wall != moved.wall:
        occurrence.shift(calendar, main, moved.wall - known.wall, context)
    if "overrides" in changed:
        occurrence.write_overrides(calendar, main, doc, context)
    if changed & {"start", "end", "dueDate", "rrule", "overrides", "status", "timezone"} and organizer is None:
        number = main.value("SEQUENCE")
        main.set("SEQUENCE", make("SEQUENCE", str(int(number) + 1 if number.isascii() and number.isdigit() and len(number) < 10 else 1)))


def _mappable(kind: str, doc: Doc, changed: set[str]) -> set[str]:
    """The fields whose values an object can say: an app may store anything, and what it says of the others stays."""
    odd = {one.path for one in fields_of(kind) if not one.takes(look(doc, one.path))}
    if tidy(doc.get("overrides")) is not None and not is_object(doc["overrides"]):
        odd.add("overrides")
    return changed - odd


def create(doc: Doc, kind: str, uid: str, stamp: str) -> bytes:
    """An object for a document that an app has made.

    :param stamp: time of its DTSTAMP, ISO 8601.
    """
    text = (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//cozyd//cozyd//EN\r\n"
        f"BEGIN:{kind}\r\nUID:{uid}\r\nDTSTAMP:{_compact(stamp)}\r\nEND:{kind}\r\nEND:VCALENDAR\r\n"
    )
    calendar = tree(text.encode(), "VCALENDAR")
    context = Context(calendar, Zones(calendar))
    main = main_of(calendar)
    for one in fields_of(kind):
        value = look(doc, one.path)
        if tidy(value) is not None and one.takes(value):
            one.write(main, value, doc, context)
    if is_object(doc.get("overrides")):
        occurrence.write_overrides(calendar, main, doc, context)
    return calendar.render()


def stamp(calendar: Component, time: str) -> None:
    """Set DTSTAMP and LAST-MODIFIED to the time of the change."""
    main = main_of(calendar)
    for name in _OWN_STAMPS:
        if main.get(name) is not None or name == "DTSTAMP":
            main.set(name, make(name, _compact(time)))


def _compact(time: str) -> str:
    found = times.from_json(time, "")
    if found is None or found.all_day:
        return "19700101T000000Z"
    return times.value(found).removesuffix("Z") + "Z"


def with_bounds(doc: Doc, kind: str) -> Doc:
    """The document with `bounds`: UTC from the first start to the last end, for time ranges."""
    bounds = occurrence.bounds(doc, kind)
    found = {name: value for name, value in doc.items() if name != "bounds"}
    return found | ({"bounds": bounds} if bounds else {})


def normalise_event(new: Doc, old: Doc | None) -> Doc:
    """An event as it is stored from an app's write: times of its zone, moved override keys, bounds."""
    return with_bounds(_moved_keys(_fitted(new), old), "VEVENT")


def normalise_todo(new: Doc, old: Doc | None) -> Doc:
    """A todo as it is stored from an app's write."""
    return with_bounds(_moved_keys(_fitted(new), old), "VTODO")


def normalise_journal(new: Doc, old: Doc | None) -> Doc:
    """A journal entry as it is stored from an app's write."""
    return with_bounds(_moved_keys(_fitted(new), old), "VJOURNAL")


def _fitted(doc: Doc) -> Doc:
    """With an offset, or a Z, that misfits the zone beside it, a time is an instant: it is stored as wall time of the zone."""
    zone = text_of(doc.get("timezone"))
    if not zone:
        return doc
    overrides = doc.get("overrides")
    found = _times_fitted(doc, zone)
    if isinstance(overrides, dict):
        inner = {key: _times_fitted(value, zone) if isinstance(value, dict) else value for key, value in overrides.items()}
        found |= {"overrides": inner} if inner != overrides else {}
    return found


def _times_fitted(doc: Doc, zone: str) -> Doc:
    given = {name: doc[name] for name in ("start", "end", "dueDate") if isinstance(doc.get(name), str)}
    return doc | {name: fit for name, text in given.items() if (fit := times.fitted(text, zone)) != text}


def _moved_keys(new: Doc, old: Doc | None) -> Doc:
    """When only the start of a recurring event moved, its overrides move with it."""
    if not old or not isinstance(new.get("overrides"), dict) or new.get("overrides") != old.get("overrides"):
        return new
    before = times.from_json(text_of(old.get("start")), text_of(old.get("timezone")))
    now = times.from_json(text_of(new.get("start")), text_of(new.get("timezone")))
    if before is None or now is None or before.all_day != now.all_day or before.wall == now.wall:
        return new
    delta = now.wall - before.wall
    moved = {occurrence.moved_key(key, delta): value for key, value in new["overrides"].items()}
    return dict(new) | {"overrides": moved}
