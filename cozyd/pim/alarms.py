"""Alarms of events and todos: `alarms` <-> VALARM (pure; RFC 5545, section 3.6.6; RFC 9074)."""

import re
from typing import Any

from cozyd.documents.store import Doc
from cozyd.pim import times
from cozyd.pim.content import Component, Line, make
from cozyd.pim.fields import items_of, text_of

_BEGIN, _END = make("BEGIN", "VALARM"), make("END", "VALARM")


def read(component: Component) -> list[Doc] | None:
    """The alarms of a component."""
    return [_alarm(one) for one in component.components("VALARM")] or None


def _alarm(alarm: Component) -> Doc:
    line = alarm.get("TRIGGER")
    found: Doc = {"trigger": _trigger(line) if line is not None else "", "action": alarm.value("ACTION").strip().lower()}
    if line is not None and line.first("RELATED").upper() == "END":
        found["relatedTo"] = "end"
    uid = alarm.value("UID").strip()
    return found | ({"uid": uid} if uid else {})


def _trigger(line: Line) -> str:
    """A duration as it stands, or a moment in the JSON form."""
    text = line.value.strip()
    found = re.fullmatch(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z", text)
    return "{}-{}-{}T{}:{}:{}Z".format(*found.groups()) if found else text


def write(component: Component, value: Any) -> None:
    """Change the alarms so that they are these: known ones, by UID, by trigger, then in order, keep all the rest."""
    wanted = items_of(value)
    left = component.components("VALARM")
    known: dict[int, Component] = {}
    for same in (_same_uid, _same_trigger):
        for number, item in enumerate(wanted):
            found = next((one for one in left if number not in known and same(one, item)), None)
            if found is not None:
                known[number] = found
                left.remove(found)
    others = [number for number in range(len(wanted)) if number not in known]
    if len(others) == len(left):
        known |= dict(zip(others, left, strict=True))
        left = []
    for number, item in enumerate(wanted):
        if number in known:
            _change(known[number], item)
        else:
            component.append(_new(item))
    component.remove(*left)


def _same_uid(alarm: Component, item: Doc) -> bool:
    return bool(item.get("uid")) and alarm.value("UID").strip() == item["uid"]


def _same_trigger(alarm: Component, item: Doc) -> bool:
    return bool(_alarm(alarm)["trigger"] == item.get("trigger"))


def _change(alarm: Component, item: Doc) -> None:
    before = _alarm(alarm)
    if text_of(item.get("trigger")) != before["trigger"] or item.get("relatedTo") != before.get("relatedTo"):
        alarm.set("TRIGGER", _trigger_line(item))
    if text_of(item.get("action")) != before["action"]:
        alarm.set("ACTION", make("ACTION", text_of(item.get("action")).upper() or "DISPLAY"))


def _new(item: Doc) -> Component:
    action = text_of(item.get("action")).upper() or "DISPLAY"
    alarm = Component("VALARM", _BEGIN, [make("ACTION", action), _trigger_line(item)], _END)
    if action in ("DISPLAY", "EMAIL"):
        alarm.append(make("DESCRIPTION", "Reminder"))
    if action == "EMAIL":  # RFC 5545, section 3.6.6: it needs both; whom to write to is not known here
        alarm.append(make("SUMMARY", "Reminder"))
        alarm.append(make("ATTENDEE", "invalid:nomail"))
    if text_of(item.get("uid")):
        alarm.append(make("UID", text_of(item["uid"])))
    return alarm


def _trigger_line(item: Doc) -> Line:
    text = text_of(item.get("trigger"))
    if times.duration(text) is not None:
        return make("TRIGGER", text.upper(), (("RELATED", ("END",)),) if item.get("relatedTo") == "end" else ())
    found = times.from_json(text, "")
    return make("TRIGGER", times.value(found) if found is not None else "PT0S", (("VALUE", ("DATE-TIME",)),) if found is not None else ())
