"""The fields of events and todos and the properties they map to (pure; docs/pim.md has the table)."""

from collections.abc import Mapping
from typing import Any

from cozyd.documents.store import Doc
from cozyd.pim import alarms, caltimes, people, times
from cozyd.pim.content import Component, Line, escape, make, unescape
from cozyd.pim.fields import is_list, is_object, is_text, items_of, text_of
from cozyd.pim.mapped import MOST_ITEMS, Context, Mapped, number_field, put_value, text_field, uri_field, word_field, words_of, write_words
from cozyd.pim.times import When

# -- lists --------------------------------------------------------------------------------------------------------------


def _read_tags(component: Component, _: Context) -> Any:
    return words_of(component.all("CATEGORIES")) or None


def _write_tags(component: Component, value: Any, _doc: Doc, _context: Context) -> None:
    write_words(component, "CATEGORIES", [text_of(one) for one in value] if isinstance(value, list) else [])


def _read_geo(component: Component, _: Context) -> Any:
    found = component.value("GEO").split(";")
    try:
        return [float(found[1]), float(found[0])] if len(found) == 2 else None
    except ValueError:
        return None


def _is_geo(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(one, int | float) for one in value)


def _write_geo(component: Component, value: Any, _doc: Doc, _context: Context) -> None:
    put_value(component, "GEO", f"{value[1]};{value[0]}" if _is_geo(value) else "")


def _links(path: str, name: str) -> Mapped:
    """ATTACH and CONFERENCE: links; inline attachments stay in the text."""
    label, media = ("FILENAME", "FMTTYPE") if name == "ATTACH" else ("LABEL", "")

    def mine(line: Line) -> bool:
        return line.first("VALUE").upper() != "BINARY" and line.first("ENCODING").upper() != "BASE64"

    def read_links(component: Component, _: Context) -> Any:
        found = []
        for line in [one for one in component.all(name) if mine(one)][:MOST_ITEMS]:
            item: Doc = {"uri": line.value.strip()}
            if line.first(label):
                item["name" if name == "ATTACH" else "label"] = line.first(label)
            if media and line.first(media):
                item["mime"] = line.first(media)
            found.append(item)
        return found or None

    def write_links(component: Component, value: Any, _doc: Doc, _context: Context) -> None:
        lines = {line.value.strip(): line for line in component.all(name) if mine(line)}
        wanted = [item for item in items_of(value) if text_of(item.get("uri"))]
        component.remove(*(line for uri, line in lines.items() if uri not in {text_of(item["uri"]) for item in wanted}))
        for item in wanted:
            old = lines.get(text_of(item["uri"]))
            line = old or make(name, text_of(item["uri"]), (("VALUE", ("URI",)),) if name == "CONFERENCE" else ())
            shown = text_of(item.get("name" if name == "ATTACH" else "label"))
            if line.first(label) != shown:
                line = line.with_parameter(label, (shown,) if shown else ())
            if media and line.first(media) != text_of(item.get("mime")):
                line = line.with_parameter(media, (text_of(item.get("mime")),) if item.get("mime") else ())
            if old is None:
                component.insert(line, after=(name,))
            elif line is not old:
                component.replace(old, line)

    return Mapped(path, read_links, write_links, is_list)


# -- todos --------------------------------------------------------------------------------------------------------------


def _read_completed(component: Component, _: Context) -> Any:
    return component.value("STATUS").strip().upper() == "COMPLETED" or component.get("COMPLETED") is not None or None


def _write_completed(component: Component, value: Any, doc: Doc, context: Context) -> None:
    """Ticked: STATUS, COMPLETED and 100; unticked: NEEDS-ACTION, no COMPLETED, 0. One that was not ticked keeps what else it says."""
    if value is not True:
        if not _read_completed(component, context):
            return
        put_value(component, "STATUS", "NEEDS-ACTION")
        component.set("COMPLETED", None)
        if component.value("PERCENT-COMPLETE").strip() == "100":
            put_value(component, "PERCENT-COMPLETE", "0")
        return
    put_value(component, "STATUS", "COMPLETED")
    put_value(component, "PERCENT-COMPLETE", "100")
    at = text_of(doc.get("completedAt")) or text_of((doc.get("cozyMetadata") or {}).get("updatedAt"))
    found = times.from_json(at, "", context.zones)
    if found is not None and not found.all_day:
        put_value(component, "COMPLETED", times.value(When(found.moment().replace(tzinfo=None), utc=True)))


def _parent_line(component: Component) -> Line | None:
    return next((line for line in component.all("RELATED-TO") if line.first("RELTYPE").upper() in ("", "PARENT")), None)


def _read_parent(component: Component, _: Context) -> Any:
    line = _parent_line(component)
    return unescape(line.value) if line is not None else None


def _write_parent(component: Component, value: Any, _doc: Doc, _context: Context) -> None:
    line = _parent_line(component)
    if line is not None and text_of(value):
        component.replace(line, line.with_value(escape(text_of(value))))
    elif line is not None:
        component.remove(line)
    elif text_of(value):
        component.insert(make("RELATED-TO", escape(text_of(value)), (("RELTYPE", ("PARENT",)),)))


_PRIVACY = {"PUBLIC": "public", "PRIVATE": "private", "CONFIDENTIAL": "secret"}
_SHARED: tuple[Mapped, ...] = (
    Mapped("timezone", caltimes.read_zone, caltimes.write_zone),
    Mapped("start", caltimes.read_start, caltimes.write_start, caltimes.is_time),
    Mapped("rrule", caltimes.read_rule, caltimes.write_rule, caltimes.is_rule),
    text_field("location", "LOCATION", "X-APPLE-STRUCTURED-LOCATION"),
    uri_field("url", "URL"),
    Mapped("geo", _read_geo, _write_geo, _is_geo),
    word_field("privacy", "CLASS", _PRIVACY),
    number_field("priority", "PRIORITY"),
    Mapped("tags", _read_tags, _write_tags, is_list),
    word_field("color", "COLOR"),
    Mapped("organizer", people.read_organizer, people.write_organizer, lambda value: is_text(value) or is_object(value)),
    Mapped("attendee", people.read_attendees, people.write_attendees, is_list),
    Mapped("alarms", lambda component, _: alarms.read(component), lambda c, value, _doc, _context: alarms.write(c, value), is_list),
    _links("attachments", "ATTACH"),
    _links("conference", "CONFERENCE"),
)
EVENT_FIELDS: tuple[Mapped, ...] = (
    *_SHARED,
    text_field("label", "SUMMARY"),
    text_field("description", "DESCRIPTION", "X-ALT-DESC"),
    caltimes.end("end", "DTEND"),
    word_field("status", "STATUS"),
    word_field("freeBusy", "TRANSP", {"OPAQUE": "busy", "TRANSPARENT": "free"}),
)
TODO_FIELDS: tuple[Mapped, ...] = (
    *_SHARED,
    text_field("summary", "SUMMARY"),
    text_field("description", "DESCRIPTION", "X-ALT-DESC"),
    caltimes.end("dueDate", "DUE"),
    word_field("status", "STATUS"),
    number_field("percent", "PERCENT-COMPLETE"),
    caltimes.utc_time("completedAt", "COMPLETED"),
    Mapped("completed", _read_completed, _write_completed, lambda value: isinstance(value, bool)),
    Mapped("parent", _read_parent, _write_parent),
    number_field("order", "X-APPLE-SORT-ORDER"),
)
JOURNAL_FIELDS: tuple[Mapped, ...] = (
    *_SHARED,
    text_field("summary", "SUMMARY"),
    text_field("description", "DESCRIPTION", "X-ALT-DESC"),
    word_field("status", "STATUS"),
)
FIELDS: Mapping[str, tuple[Mapped, ...]] = {"VEVENT": EVENT_FIELDS, "VTODO": TODO_FIELDS, "VJOURNAL": JOURNAL_FIELDS}
