"""`/data`: the change feed and replication, as PouchDB speaks it, and its odd and malformed forms."""

import threading
import time
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.client import Answer, Client
from tests.support.raw import Raw
from tests.support.serving import Served

TYPES = ("feed", "waiting", "round", "grafts", "attached", "bulk", "local")
T = {name: f"/data/io.cozy.test.{name}" for name in TYPES}
NONE = "/data/io.cozy.test.absent"


@pytest.fixture(scope="module")
def alice(served: Served) -> Client:
    return Client(
        served, scope=(*(f"io.cozy.test.{name}" for name in (*TYPES, "absent", "copy")), "io.cozy.files", "io.cozy.calendar.events")
    )


@pytest.fixture(autouse=True)
def _no_surprise(alice: Client):
    yield
    assert "Traceback" not in alice.served.log()


def bulk(client: Client, path: str, *docs: dict[str, Any], **more: Any) -> Any:
    answer = client.api("POST", f"{path}/_bulk_docs", {"docs": docs} | more)
    assert answer.status == 201, answer.body
    return answer.json


def rev(number: int, letter: str) -> str:
    return f"{number}-{letter * 32}"


# -- the change feed ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def feed(alice: Client) -> str:
    path = T["feed"]
    made = bulk(alice, path, *({"_id": f"d{number}", "n": number} for number in range(4)))
    alice.api("PUT", f"{path}/d0", {"_id": "d0", "_rev": made[0]["rev"], "n": 10})
    alice.api("DELETE", f"{path}/d2?rev={made[2]['rev']}")
    bulk(alice, path, {"_id": "d1", "_rev": rev(1, "0"), "n": -1}, new_edits=False)
    return f"{path}/_changes"


def test_each_document_is_told_once_at_its_last_change(alice: Client, feed: str):
    found = alice.api("GET", feed).json
    assert [(row["id"], row.get("deleted", False), row["doc"]) for row in found["results"]] == [
        ("d3", False, None),
        ("d0", False, None),
        ("d2", True, None),
        ("d1", False, None),
    ]
    assert (found["pending"], found["last_seq"]) == (0, found["results"][-1]["seq"])
    assert all(len(row["changes"]) == 1 for row in found["results"])
    full = alice.api("GET", f"{feed}?style=all_docs&include_docs=true").json["results"]
    assert [len(row["changes"]) for row in full] == [1, 1, 1, 2]
    assert full[2]["doc"] == {"_id": "d2", "_rev": full[2]["changes"][0]["rev"], "_deleted": True}
    assert full[1]["doc"]["n"] == 10


def test_the_feed_goes_on_where_it_stopped(alice: Client, feed: str):
    seen, since = [], "0"
    while True:
        page = alice.api("GET", f"{feed}?since={since}&limit=2").json
        seen += [row["id"] for row in page["results"]]
        since = page["last_seq"]
        if not page["pending"]:
            break
    assert seen == ["d3", "d0", "d2", "d1"]
    newest = alice.api("GET", f"{feed}?limit=1&descending=true").json
    assert (newest["last_seq"], newest["results"][0]["id"]) == (since, "d1")
    assert alice.api("GET", f"{feed}?since=now").json | {"results": []} == {"results": [], "last_seq": since, "pending": 0}
    assert alice.api("GET", f"{feed}?since={since}").json["results"] == []
    assert [row["seq"] != "" for row in alice.api("GET", f"{feed}?seq_interval=2").json["results"]] == [False, True, False, True]
    assert len(alice.api("GET", f"{feed}?since=99999999-0123456789ab").json["results"]) == 4, "an unknown one rewinds"
    assert len(alice.api("GET", f"{feed}?limit=0").json["results"]) == 4


def test_a_posted_feed_is_narrowed(alice: Client, feed: str):
    def ids(query: str, body: Any) -> list[str]:
        return [row["id"] for row in alice.api("POST", f"{feed}?{query}", body).json["results"]]

    assert ids("filter=_doc_ids", {"doc_ids": ["d1", "d2", "none"]}) == ["d2", "d1"]
    assert ids("filter=_selector", {"selector": {"n": {"$gt": 5}}}) == ["d0"]
    assert ids("filter=_selector", {"selector": {"_deleted": True}}) == ["d2"]
    assert ids("filter=_design", {}) == []
    assert ids("", None) == ["d3", "d0", "d2", "d1"]


@pytest.mark.parametrize(
    ("method", "query", "reason"),
    [
        ("GET", "attachments=true", "Unsupported query parameter 'attachments'"),
        ("GET", "filter=_doc_ids", "Unsupported query parameter 'filter'"),
        ("GET", "feed=continuous", "Unsuported feed value 'continuous'"),
        ("GET", "feed=eventsource", "Unsuported feed value 'eventsource'"),
        ("GET", "style=some", "Unsuported style value 'some'"),
        ("POST", "filter=mine/own", "Unsuported filter value 'mine/own'"),
    ],
)
def test_unknown_parameters_of_the_feed_are_refused(alice: Client, feed: str, method: str, query: str, reason: str):
    answer = alice.api(method, f"{feed}?{query}", {} if method == "POST" else None)
    assert (answer.status, answer.json) == (400, {"error": f"Bad Request(400): {reason}"})


@pytest.mark.parametrize(
    "query", ["limit=x", "limit=-1", "limit=%C2%B2", "limit=1.5", "since=garbage", "seq_interval=x", "timeout=x&feed=longpoll&since=now"]
)
def test_malformed_parameters_of_the_feed_are_refused(alice: Client, feed: str, query: str):
    assert alice.api("GET", f"{feed}?{query}").status == 400


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("_doc_ids", {}, "`doc_ids` filter parameter is not a list of doc ids."),
        ("_doc_ids", {"doc_ids": [5]}, "`doc_ids` filter parameter is not a list of doc ids."),
        ("_selector", {}, "Selector error: expected a JSON object"),
        ("_selector", {"selector": {"n": {"$nope": 1}}}, "Invalid operator: $nope"),
    ],
)
def test_filters_need_what_they_narrow_by(alice: Client, feed: str, name: str, body: Any, reason: str):
    answer = alice.api("POST", f"{feed}?filter={name}", body)
    assert (answer.status, answer.json["error"], answer.json["reason"]) == (400, "bad_request", reason)


@pytest.mark.parametrize(
    "query", ["limit=99999999999999999999999", "limit=" + "9" * 5000, "seq_interval=" + "9" * 30, "timeout=" + "9" * 30]
)
def test_huge_numbers_are_as_good_as_none(alice: Client, feed: str, query: str):
    assert len(alice.api("GET", f"{feed}?{query}").json["results"]) == 4


def test_a_missing_doctype_has_no_feed(alice: Client):
    answer = alice.api("GET", f"{NONE}/_changes")
    assert (answer.status, answer.json["reason"]) == (404, "Database does not exist.")


# -- waiting ------------------------------------------------------------------------------------------------------------


class Waiting(threading.Thread):
    """A request that waits, in a thread of its own."""

    def __init__(self, client: Client, query: str, body: Any = None) -> None:
        super().__init__(daemon=True)
        self.client, self.query, self.body = client, query, body
        self.answer: Answer | None = None
        self.start()

    def run(self) -> None:
        self.answer = self.client.api("POST" if self.body else "GET", f"{T['waiting']}/_changes?feed=longpoll&{self.query}", self.body)

    def result(self, within: float = 15) -> Any:
        self.join(within)
        assert self.answer is not None, "the request still waits"
        return self.answer.json


def last_seq(client: Client) -> str:
    seq: str = client.api("GET", f"{T['waiting']}/_changes?descending=true&limit=1").json["last_seq"]
    return seq


def until_parked(waiting: Waiting) -> None:
    """Give the request time to come to wait: the answers of others show that the server went on."""
    for _ in range(20):
        assert waiting.client.api("GET", "/data/").status == 200
    assert waiting.is_alive()


def test_a_waiting_feed_wakes_at_the_commit(alice: Client):
    bulk(alice, T["waiting"], {"_id": "first"})
    waiting = Waiting(alice, f"since={last_seq(alice)}&include_docs=true")
    until_parked(waiting)
    bulk(alice, T["round"], {"n": "of another doctype"})
    until_parked(waiting)
    bulk(alice, T["waiting"], {"_id": "awaited", "n": 5})
    found = waiting.result()
    assert [row["doc"]["n"] for row in found["results"]] == [5]
    assert found["last_seq"] == last_seq(alice)


def test_a_feed_from_now_on_hears_the_next_change(alice: Client):
    bulk(alice, T["waiting"], {"_id": "before now"})
    waiting = Waiting(alice, "since=now")
    until_parked(waiting)
    bulk(alice, T["waiting"], {"_id": "after now"})
    assert [row["id"] for row in waiting.result(5)["results"]] == ["after now"]


def test_a_waiting_feed_answers_at_once_when_something_is_new(alice: Client):
    seq = last_seq(alice)
    bulk(alice, T["waiting"], {"_id": "already"})
    assert [row["id"] for row in Waiting(alice, f"since={seq}").result(5)["results"]] == ["already"]


def test_a_waiting_feed_ends_at_its_time_out(alice: Client):
    seq, began = last_seq(alice), time.monotonic()
    found = Waiting(alice, f"since={seq}&timeout=300").result()
    assert found == {"results": [], "last_seq": seq, "pending": 0}
    assert 0.29 < time.monotonic() - began < 5


def test_a_heartbeat_keeps_a_waiting_feed_open(alice: Client):
    waiting = Waiting(alice, f"since={last_seq(alice)}&heartbeat=50&timeout=100")
    began = time.monotonic()
    while time.monotonic() - began < 0.4:
        until_parked(waiting)
    bulk(alice, T["waiting"], {"_id": "after beats"})
    assert [row["id"] for row in waiting.result()["results"]] == ["after beats"]
    assert waiting.answer is not None
    assert waiting.answer.body.startswith(b"\n\n")


def test_many_feeds_wait_without_holding_the_server(alice: Client):
    """Far more than the server has threads; all are woken by one commit."""
    bulk(alice, T["waiting"], {"_id": "before many"})
    path = f"{T['waiting']}/_changes?feed=longpoll&since={last_seq(alice)}"
    asked = f"GET {path} HTTP/1.1\nHost: {alice.host}\nAuthorization: Bearer {alice.token}\n\n"
    with ExitStack() as stack:
        feeds = [stack.enter_context(Raw(alice.served.port)) for _ in range(150)]
        for feed in feeds:
            feed.send(asked)
        for _ in range(20):
            assert alice.api("GET", "/data/").status == 200
        bulk(alice, T["waiting"], {"_id": "for many"})
        answers = [feed.reply() for feed in feeds]
    assert {answer.status for answer in answers} == {200}
    assert all(b'"id":"for many"' in answer.body for answer in answers)


def test_a_narrowed_waiting_feed_sleeps_through_other_changes(alice: Client):
    waiting = Waiting(alice, f"since={last_seq(alice)}&filter=_doc_ids", {"doc_ids": ["wanted"]})
    until_parked(waiting)
    bulk(alice, T["waiting"], {"_id": "unwanted"})
    until_parked(waiting)
    bulk(alice, T["waiting"], {"_id": "wanted"})
    assert [row["id"] for row in waiting.result()["results"]] == ["wanted"]


# -- writing many -------------------------------------------------------------------------------------------------------


def test_each_of_many_writes_stands_alone(alice: Client):
    path = T["bulk"]
    first = bulk(alice, path, {"_id": "a", "n": 1}, {"n": "given an id"})
    assert len(first[1]["id"]) == 32
    rows = bulk(
        alice,
        path,
        {"_id": "a", "n": 2},
        {"_id": "a", "_rev": first[0]["rev"], "n": 3},
        {"_id": "b", "_rev": rev(1, "a"), "n": 4},
        {"_id": "c", "_rev": "nonsense"},
        {"_id": "_odd"},
        {"_id": 5},
        {"_id": "d", "_odd": 1},
        {"_id": "e", "n": 5},
        {"_id": "e", "n": 6},
        {"_id": first[1]["id"], "_rev": first[1]["rev"], "_deleted": True},
    )
    shown = [row.get("error") or row["ok"] for row in rows]
    assert shown == [
        "conflict",
        True,
        "conflict",
        "bad_request",
        "illegal_docid",
        "illegal_docid",
        "doc_validation",
        True,
        "conflict",
        True,
    ]
    assert [row["id"] for row in rows[:4]] == ["a", "a", "b", "c"]
    more = bulk(alice, path, {"_id": "", "n": 1}, {"_id": "f", "_deleted": "yes"})
    assert [row["reason"] for row in more] == ["Document id must not be empty", "Bad special document member: _deleted"]
    assert [row["id"] for row in alice.api("GET", f"{path}/_all_docs").json["rows"]] == ["a", "e"]
    assert alice.api("GET", f"{path}/e").json["n"] == 5


def test_one_event_too_many_does_not_stop_the_others(alice: Client):
    path = "/data/io.cozy.calendar.events"
    odd: list[Any] = [
        {},
        {"start": 5, "end": []},
        {"start": "nonsense", "rrule": {"freq": 7}},
        {"overrides": 3, "start": None},
        {"attendees": "x", "alarms": {}},
    ]
    rows = bulk(alice, path, *({"_id": f"odd{number}"} | fields for number, fields in enumerate(odd)), {"_id": "fine", "title": "x"})
    assert rows[-1].get("ok") is True
    assert alice.api("GET", f"{path}/fine").json["title"] == "x"


@pytest.mark.parametrize("body", [{}, {"docs": 5}, {"docs": [5]}, {"docs": None}, []])
def test_a_body_without_documents_is_refused(alice: Client, body: Any):
    assert alice.api("POST", f"{T['bulk']}/_bulk_docs", body).status == 400
    assert alice.api("POST", f"{T['bulk']}/_bulk_docs", b"{}", Content_Type="text/plain").status == 415


def test_a_thousand_documents_are_one_request(alice: Client):
    rows = bulk(alice, T["bulk"], *({"_id": f"many{number}", "n": number} for number in range(1000)))
    assert all(row["ok"] for row in rows)
    assert len(alice.api("GET", f"{T['bulk']}/_all_docs?startkey=%22many%22&endkey=%22manyz%22").json["rows"]) == 1000


# -- replication --------------------------------------------------------------------------------------------------------


def test_a_replica_s_revisions_are_merged(alice: Client):
    path = T["grafts"]
    history = {"start": 2, "ids": ["b" * 32, "a" * 32]}
    assert bulk(alice, path, {"_id": "x", "_rev": rev(2, "b"), "_revisions": history, "n": "b"}, new_edits=False) == []
    assert (
        bulk(
            alice,
            path,
            {"_id": "x", "_rev": rev(2, "c"), "_revisions": {"start": 2, "ids": ["c" * 32, "a" * 32]}, "n": "c"},
            new_edits=False,
        )
        == []
    )
    assert alice.api("GET", f"{path}/x").json["n"] == "c"
    shown = alice.api("GET", f"{path}/x?revs=true&conflicts=true&revs_info=true").json
    assert shown["_conflicts"] == [rev(2, "b")]
    assert shown["_revisions"] == {"start": 2, "ids": ["c" * 32, "a" * 32]}
    assert [one["status"] for one in shown["_revs_info"]] == ["available", "missing"]
    leaves = alice.api("GET", f"{path}/x?revs=true&open_revs=all").json
    assert [one["ok"]["n"] for one in leaves] == ["c", "b"]
    asked = f'open_revs=["{rev(2, "b")}","{rev(9, "f")}"]'.replace('"', "%22")
    assert alice.api("GET", f"{path}/x?revs=true&{asked}").json[1] == {"missing": rev(9, "f")}
    bulk(alice, path, {"_id": "x", "_rev": rev(2, "c"), "_deleted": True})
    assert alice.api("GET", f"{path}/x").json["n"] == "b"


def test_a_deleted_document_shows_its_last_revision_when_named(alice: Client):
    path = T["grafts"]
    made = bulk(alice, path, {"_id": "dead", "n": 1})[0]
    gone = bulk(alice, path, {"_id": "dead", "_rev": made["rev"], "_deleted": True})[0]
    shown = alice.api("GET", f"{path}/dead?revs=true&rev={gone['rev']}").json
    assert (shown["_deleted"], shown["_revisions"]["start"]) == (True, 2)
    assert alice.api("GET", f"{path}/dead?revs=true").status == 404
    got = alice.api("POST", f"{path}/_bulk_get", {"docs": [{"id": "dead"}, {"id": "dead", "rev": rev(7, "d")}, {"n": 1}, 5]}).json[
        "results"
    ]
    assert got[0]["docs"][0]["ok"]["_deleted"] is True
    assert [one["docs"][0].get("error", {}).get("error") for one in got[1:]] == ["not_found", "bad_request", "bad_request"]


def test_refused_grafts_name_their_document(alice: Client):
    path = T["grafts"]
    bulk(alice, path, {"_id": "known", "_rev": rev(1, "a")}, new_edits=False)
    rows = bulk(
        alice,
        path,
        {"_id": "known", "_rev": rev(1, "a")},
        {"_id": "no-rev"},
        {"_id": "bad-rev", "_rev": "x"},
        {"_id": "bad-path", "_rev": rev(2, "a"), "_revisions": {"start": 2, "ids": ["a" * 32, {}]}},
        {"_rev": rev(1, "a")},
        {"_id": "_odd", "_rev": rev(1, "a")},
        {"_id": "special", "_rev": rev(1, "a"), "_special": 1},
        {"_id": "attached", "_rev": rev(1, "a"), "_attachments": {"a": {"data": "%"}}},
        {"_id": "superscript", "_rev": "²-" + "a" * 32},
        {"_id": "fine", "_revisions": {"start": 1, "ids": ["f" * 32]}},
        new_edits=False,
    )
    assert [row["id"] for row in rows] == ["no-rev", "bad-rev", "bad-path", None, "_odd", "special", "attached", "superscript"]
    assert alice.api("GET", f"{path}/fine").json["_rev"] == rev(1, "f")


def test_attachments_come_and_go_by_replication(alice: Client):
    path = T["attached"]
    picture = {"content_type": "image/png", "revpos": 1, "data": "aGVsbG8="}
    assert bulk(alice, path, {"_id": "p", "_rev": rev(1, "a"), "_attachments": {"p.png": picture}}, new_edits=False) == []
    shown = alice.api("GET", f"{path}/p").json["_attachments"]["p.png"]
    assert (shown["stub"], shown["length"], shown["digest"]) == (True, 5, "md5-XUFAKrxLKna5cZ2REBfFkg==")
    asked = {"docs": [{"id": "p"}]}
    found = alice.api("POST", f"{path}/_bulk_get?revs=true&attachments=true", asked).json["results"][0]["docs"][0]["ok"]
    assert found["_attachments"] == {"p.png": picture | {"digest": shown["digest"]}}
    assert "stub" in alice.api("POST", f"{path}/_bulk_get", asked).json["results"][0]["docs"][0]["ok"]["_attachments"]["p.png"]


def test_a_round_trip_between_two_doctypes(alice: Client):
    """Pull, then push, as a replica does: the target ends with the same trees."""
    source, target = T["round"], "/data/io.cozy.test.copy"
    made = bulk(alice, source, *({"_id": f"r/{number}", "n": number} for number in range(20)))
    bulk(alice, source, {"_id": "r/3", "_rev": made[3]["rev"], "n": 33}, {"_id": "r/4", "_rev": made[4]["rev"], "_deleted": True})
    bulk(alice, source, {"_id": "r/5", "_rev": rev(1, "f"), "n": "conflict"}, new_edits=False)
    assert alice.api("GET", f"{target}/").status == 404
    assert alice.api("PUT", f"{target}/").status == 201
    assert alice.api("GET", f"{target}/_local/check.point==").status == 404
    changes = alice.api("GET", f"{source}/_changes?style=all_docs").json
    wanted = {row["id"]: [one["rev"] for one in row["changes"]] for row in changes["results"]}
    missing = alice.api("POST", f"{target}/_revs_diff", wanted).json
    assert {id: set(one["missing"]) for id, one in missing.items()} == {id: set(revs) for id, revs in wanted.items()}
    asked = [{"id": id, "rev": one} for id, revs in wanted.items() for one in revs]
    got = alice.api("POST", f"{source}/_bulk_get?revs=true&latest=true", {"docs": asked}).json["results"]
    assert bulk(alice, target, *(one["docs"][0]["ok"] for one in got), new_edits=False) == []
    assert alice.api("POST", f"{target}/_ensure_full_commit", {}).status == 201
    assert alice.api("POST", f"{target}/_revs_diff", wanted).json == {}
    assert alice.api("PUT", f"{target}/_local/check.point==", {"last_seq": changes["last_seq"]}).json["rev"] == "0-1"
    assert alice.api("GET", f"{target}/_local/check.point==").json["last_seq"] == changes["last_seq"]
    for id in ("r%2F3", "r%2F5"):
        query = "?revs=true&conflicts=true"
        assert alice.api("GET", f"{target}/{id}{query}").json == alice.api("GET", f"{source}/{id}{query}").json
    assert alice.api("GET", f"{target}/r%2F4").status == 404


def test_possible_ancestors_are_named(alice: Client):
    made = bulk(alice, T["grafts"], {"_id": "grown", "n": 1})[0]
    answer = alice.api("POST", f"{T['grafts']}/_revs_diff", {"grown": [rev(5, "e"), rev(5, "e"), made["rev"]]}).json
    assert answer == {"grown": {"missing": [rev(5, "e")], "possible_ancestors": [made["rev"]]}}


@pytest.mark.parametrize("revs", ["x", [5], [{}], [["1-a"]], ["nonsense"], ["²-a"], [None]])
def test_malformed_revisions_are_refused(alice: Client, revs: Any):
    answer = alice.api("POST", f"{T['grafts']}/_revs_diff", {"x": revs})
    assert (answer.status, answer.json["error"]) == (400, "bad_request")


def test_checkpoints_are_kept_apart(alice: Client):
    path = T["local"]
    assert alice.api("GET", f"{path}/_local/x").json == {"error": "not_found", "reason": "Database does not exist."}
    bulk(alice, path, {"_id": "x", "n": "document"})
    assert alice.api("PUT", f"{path}/_local/x", {"n": 1}).json["rev"] == "0-1"
    assert alice.api("PUT", f"{path}/_local/x", {"n": 2, "_rev": "0-1"}).json["rev"] == "0-2"
    assert alice.api("PUT", f"{path}/_local/x", {"_rev": "nonsense"}).json == {"error": "bad_request", "reason": "Invalid rev format"}
    odd = alice.api("PUT", f"{path}/_local/x", {"_odd": 1})
    assert (odd.status, odd.json["error"]) == (400, "doc_validation")
    assert alice.api("GET", f"{path}/_local/x").json == {"_id": "_local/x", "_rev": "0-2", "n": 2}
    assert alice.api("GET", f"{path}/x").json["n"] == "document"
    assert [row["id"] for row in alice.api("GET", f"{path}/_changes").json["results"]] == ["x"]
    assert [row["id"] for row in alice.api("GET", f"{path}/_all_docs").json["rows"]] == ["x"]
    assert alice.api("PUT", f"{path}/_local/x", b"{}", Content_Type="text/plain").status == 201


def test_private_data_of_a_grafted_event_stays(alice: Client):
    """What CalDAV sent lies beside the document; an edit of a replica, that knows the public fields only, keeps it."""
    lines = "BEGIN:VEVENT UID:keep DTSTAMP:20260101T000000Z DTSTART:20260101T100000Z SUMMARY:a X-MINE:kept END:VEVENT".split()
    event = "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:x", *lines, "END:VCALENDAR", ""])
    assert alice.dav("PUT", "/sync/dav/me/calendar/keep.ics", event).status == 201
    path = "/data/io.cozy.calendar.events"
    docs = [row["doc"] for row in alice.api("GET", f"{path}/_all_docs?include_docs=true").json["rows"]]
    doc = next(one for one in docs if one.get("label") == "a")
    assert b"X-MINE" not in alice.api("GET", f"{path}/{doc['_id']}?revs=true").body
    assert b"X-MINE" not in alice.api("GET", f"{path}/_changes?include_docs=true").body
    history = {"start": 2, "ids": ["e" * 32, doc["_rev"][2:]]}
    assert bulk(alice, path, doc | {"_rev": rev(2, "e"), "_revisions": history, "label": "b"}, new_edits=False) == []
    text = alice.dav("GET", "/sync/dav/me/calendar/keep.ics").body.decode()
    assert "X-MINE:kept" in text
    assert "SUMMARY:b" in text
