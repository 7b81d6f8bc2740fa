"""An index never changes an answer: what is found by one is what a look at every document finds."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cozyd.documents import mango, mango_json
from cozyd.documents.collation import tuple_key
from cozyd.documents.mango import Index, design_of, index_from_design, project
from cozyd.documents.mango_json import parse_index
from cozyd.documents.selector import MISSING, field_path, matcher, value_at
from cozyd.documents.sqlite import SqliteBackend
from cozyd.documents.store import Doc, DocumentStore, Page, Query, Ref, Write
from cozyd.errors import BadRequest

FIELDS = ("a", "b", "c.d", "_id")
_NUMBER = count()

values = st.sampled_from(
    [
        None,
        False,
        True,
        0,
        1,
        1.5,
        2,
        2**53,
        2**53 + 1,
        "",
        "a",
        "A",
        "á",
        "b",
        "ab",
        [],
        [1],
        [True],
        ["a", "b"],
        {},
        {"d": 1},
        {"x": 1, "d": 2},
    ]
)
bodies = st.dictionaries(st.sampled_from(["a", "b", "c"]), values, max_size=3)
conditions = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne", "$lt", "$lte", "$gt", "$gte"]), values),
    st.tuples(st.sampled_from(["$in", "$nin", "$all"]), st.lists(values, max_size=3)),
    st.tuples(st.just("$exists"), st.booleans()),
    st.tuples(st.just("$type"), st.sampled_from(["null", "boolean", "number", "string", "array", "object"])),
    st.tuples(st.just("$size"), st.integers(0, 2)),
    st.tuples(st.sampled_from(["$regex", "$beginsWith"]), st.just("a")),
)
fields = st.sampled_from([*FIELDS, "c"])
simple = st.builds(lambda name, some: {name: dict(some)}, fields, st.lists(conditions, min_size=1, max_size=2)) | st.builds(
    lambda name, value: {name: value}, fields, values
)
selectors = st.recursive(
    simple,
    lambda inner: st.one_of(
        st.builds(lambda one, other: one | other, inner, inner),
        st.builds(lambda name, many: {name: many}, st.sampled_from(["$and", "$or", "$nor"]), st.lists(inner, max_size=3)),
        st.builds(lambda one: {"$not": one}, inner),
    ),
    max_leaves=4,
)
indexes = st.lists(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=3, unique=True).map(tuple), max_size=3, unique=True)
sorts = st.lists(st.sampled_from(FIELDS), max_size=2, unique=True)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DocumentStore]:
    folder: Path = tmp_path_factory.mktemp("mango")
    backend = SqliteBackend(folder / "documents", ())
    yield backend.create("one")
    backend.close()


def filled(store: DocumentStore, docs: list[dict[str, Any]], wanted: list[tuple[str, ...]], late: int) -> str:
    """A doctype of its own; some of the indexes are made before the documents, some after."""
    doctype = f"io.cozy.test.d{next(_NUMBER)}"
    store.make(doctype)
    designs = [
        Write(Ref(doctype, f"_design/i{number}"), body=design_of(Index(f"i{number}", "x", names))) for number, names in enumerate(wanted)
    ]
    writes = [Write(Ref(doctype, f"{'aAbB'[number % 4]}{number}"), body=body) for number, body in enumerate(docs)]
    store.commit([*designs[late:], *writes, *designs[:late]])
    return doctype


def everything(store: DocumentStore, doctype: str) -> list[Doc]:
    return [stored.doc for stored in store.all(doctype).rows if not stored.ref.id.startswith("_design/")]


def ids(page: Page) -> list[str]:
    return [stored.ref.id for stored in page.rows]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(bodies, max_size=8), indexes, selectors, sorts, st.booleans(), st.integers(0, 2), st.integers(1, 4), st.integers(0, 2))
def test_what_an_index_finds_is_what_a_scan_finds(
    store: DocumentStore,
    docs: list[dict[str, Any]],
    wanted: list[tuple[str, ...]],
    selector: Any,
    sort: list[str],
    down: bool,
    late: int,
    limit: int,
    skip: int,
):
    doctype = filled(store, docs, wanted, late)
    direction: Literal["asc", "desc"] = "desc" if down else "asc"
    order = tuple((name, direction) for name in sort)
    try:
        whole = store.find(doctype, Query(selector, sort=order, limit=1000))
    except BadRequest as refused:
        assume(refused.error != "no_usable_index")
        raise
    match = matcher(selector)
    paths = [field_path(name) for name in sort]
    fitting = [doc for doc in everything(store, doctype) if match(doc) and all(value_at(doc, path) is not MISSING for path in paths)]
    assert sorted(ids(whole)) == sorted(doc["_id"] for doc in fitting)
    if sort and sort != ["_id"]:
        keys = [tuple_key([value_at(stored.doc, path) for path in paths]) for stored in whole.rows]
        assert keys == sorted(keys, reverse=down)
    paged: list[str] = []
    query = Query(selector, sort=order, limit=limit, skip=skip)
    while page := store.find(doctype, query).rows:
        paged += [stored.ref.id for stored in page]
        query = Query(selector, sort=order, limit=limit, bookmark=store.find(doctype, query).bookmark)
    assert paged == ids(whole)[skip:]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(bodies, min_size=1, max_size=6), indexes, st.lists(st.tuples(st.integers(0, 5), bodies | st.none()), max_size=6), simple)
def test_indexes_follow_edits_and_deletions(
    store: DocumentStore,
    docs: list[dict[str, Any]],
    wanted: list[tuple[str, ...]],
    edits: list[tuple[int, dict[str, Any] | None]],
    selector: Any,
):
    doctype = filled(store, docs, wanted, 1)
    for number, body in edits:
        known = everything(store, doctype)
        if known:
            doc = known[number % len(known)]
            store.commit([Write(Ref(doctype, doc["_id"]), body=body, rev=doc["_rev"], deleted=body is None)])
    match = matcher(selector)
    found = store.find(doctype, Query(selector, limit=1000))
    assert sorted(ids(found)) == sorted(doc["_id"] for doc in everything(store, doctype) if match(doc))


def test_a_partial_index_serves_only_who_names_it(store: DocumentStore):
    doctype = filled(store, [{"a": number, "done": number % 2 == 0} for number in range(6)], [], 0)
    store.commit([Write(Ref(doctype, "_design/open"), body=design_of(Index("open", "x", ("a",), {"done": False})))])
    unnamed = store.find(doctype, Query({"a": {"$gte": 0}}))
    assert len(unnamed.rows) == 6
    assert unnamed.warning is not None
    named = store.find(doctype, Query({"a": {"$gte": 0}}, index=("open",)))
    assert sorted(stored.doc["a"] for stored in named.rows) == [1, 3, 5]
    assert named.warning is None


def test_a_named_index_that_cannot_serve_is_a_warning(store: DocumentStore):
    doctype = filled(store, [{"a": 1, "b": 1}], [("a",), ("b",)], 0)
    found = store.find(doctype, Query({"a": 1}, index=("i1", "x")))
    assert found.warning is not None
    assert "_design/i1, x was not used because it is not a valid index for this query." in found.warning
    assert len(found.rows) == 1
    found = store.find(doctype, Query({"a": 1}, index=("i1",)))
    assert "_design/i1 was not used because it does not contain a valid index for this query." in (found.warning or "")


def test_a_wide_look_through_an_index_says_so(store: DocumentStore):
    doctype = filled(store, [{"a": number, "b": number} for number in range(60)], [("a",)], 0)
    found = store.find(doctype, Query({"a": {"$gte": 0}, "b": 7}))
    assert found.stats["total_docs_examined"] == 60
    assert found.warning is not None
    assert "examined is high" in found.warning


def test_ids_in_an_index_are_bounded_by_their_bytes(store: DocumentStore):
    doctype = filled(store, [{"a": 1}] * 8, [("a", "_id")], 0)
    for bound, wanted in (("B", ["B3", "B7", "a0", "a4", "b2", "b6"]), ("a", ["a0", "a4", "b2", "b6"])):
        assert sorted(ids(store.find(doctype, Query({"a": 1, "_id": {"$gt": bound}})))) == wanted


def test_mixed_directions_are_refused(store: DocumentStore):
    doctype = filled(store, [{"a": 1, "b": 1}], [("a", "b")], 0)
    with pytest.raises(BadRequest) as caught:
        store.find(doctype, Query({"a": 1}, sort=(("a", "asc"), ("b", "desc"))))
    assert caught.value.error == "unsupported_mixed_sort"


def test_a_sort_may_leave_out_fields_with_one_value(store: DocumentStore):
    doctype = filled(store, [{"a": 1, "b": 3}, {"a": 1, "b": 2}, {"a": 2, "b": 1}], [("a", "b")], 0)
    found = store.find(doctype, Query({"a": 1}, sort=(("b", "asc"),)))
    assert [stored.doc["b"] for stored in found.rows] == [2, 3]


@given(st.lists(st.sampled_from(["a", "b.c", "a\\.b"]), min_size=1, unique=True), st.sampled_from([None, {"a": 1}]))
def test_an_index_is_read_back_from_its_design_document(names: list[str], where: Any):
    asked: Doc = {"index": {"fields": [{name: "asc"} for name in names]} | ({"partial_filter_selector": where} if where else {})}
    index = parse_index(asked)
    assert index_from_design(design_of(index)) == [index]
    assert parse_index(asked) == index, "the same definition has the same name"


@pytest.mark.parametrize(
    "doc", [{}, {"language": "javascript", "views": {"v": {"map": "x"}}}, {"language": "query"}, {"language": "query", "views": []}]
)
def test_other_design_documents_describe_no_index(doc: Doc):
    assert list(index_from_design(doc | {"_id": "_design/x"})) == []


@pytest.mark.parametrize(
    ("names", "cut"),
    [
        (["a"], {"a": 1}),
        (["b.c"], {"b": {"c": 2}}),
        (["b.c", "b.d"], {"b": {"c": 2, "d": [3]}}),
        (["gone", "b.gone"], {}),
        (["_id", "x\\.y"], {"_id": "i", "x.y": 5}),
        (["b.d.0"], {"b": {"d": {"0": 3}}}),
    ],
)
def test_a_document_is_cut_to_fields(names: list[str], cut: Doc):
    assert project({"_id": "i", "a": 1, "b": {"c": 2, "d": [3]}, "x.y": 5}, names) == cut


def test_conditions_are_checked_without_a_store():
    mango.check({"a": {"$in": [1]}})
    with pytest.raises(BadRequest):
        mango.check({"a": {"$in": 1}})


def test_an_index_without_a_name_gets_the_one_couchdb_would_give_it():
    index = mango_json.parse_index({"index": {"fields": ["name"]}})
    assert (index.ddoc, index.name) == ("eab5ed115652e6127f384f00d0bc4b9e0b7dbed9", "eab5ed115652e6127f384f00d0bc4b9e0b7dbed9")
    where: Doc = {"a": {"$in": [1, -300, 2**40, 1.5, True, None, [], {}]}}
    other = mango_json.parse_index({"index": {"fields": [{"name": "asc"}], "partial_filter_selector": where}, "name": "mine"})
    assert (len(other.ddoc), other.name) == (40, "mine")
