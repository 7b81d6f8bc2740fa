"""Our collation and selectors against a real CouchDB: the same order of keys, the same documents of random queries."""

import random
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest

from cozyd import jsons
from cozyd.documents import collation, mango
from cozyd.documents.couchdb import CouchBackend
from cozyd.documents.store import DocumentStore, Query, Ref, Write
from cozyd.locks import LocalLocks
from tests.contracts.document_values import THINGS, design
from tests.support.couchdb import empty_server, needs_couchdb

pytestmark = needs_couchdb
SPACED = ("", "co op", "a b", "\t")
WORDS = (
    "a A b ab aB Ab á à ä Ä æ Æ z Z ø ß ss ł l co-op coop a-b ab1 ab10 ab2 10 2 -1 _ . é e\u0301 \u00c5ngstr\u00f6m ñ n ı İ i I "
    "Жук жук 中文 日本 한국 עברית عربي 😀 \u200d ~ $ € ½"
).split(" ")


@pytest.fixture
def store() -> Iterator[DocumentStore]:
    with empty_server() as url:
        backend = CouchBackend(url, (), locks=LocalLocks())
        yield backend.create("collation")
        backend.close()


def values(chance: random.Random) -> list[Any]:
    """Every kind of JSON value, many of them texts."""
    letters = [chr(code) for code in range(0x20, 0x250) if unicodedata.category(chr(code))[0] in "LNPSZ"]
    texts = [*SPACED, *WORDS] + ["".join(chance.choices(letters, k=chance.randrange(1, 6))) for _ in range(250)]
    numbers: list[Any] = [0, -1, 1, 1.5, -2.25, 1e30, -1e30, 2**53, 7]
    arrays: list[Any] = [[], [None], [1], [1, 2], ["a"], ["a", 1], [[]], [{}], [True, False]]
    objects: list[Any] = [{}, {"a": 1}, {"a": 2}, {"b": 1}, {"a": 1, "b": 2}, {"A": 1}]
    return [None, False, True, *numbers, *dict.fromkeys(texts), *arrays, *objects]


@pytest.mark.timeout(120)
def test_keys_sort_as_in_couchdb(store: DocumentStore):
    found = values(random.Random(7))
    store.commit([Write(Ref(THINGS, "_design/by-v"), body=design("by-v", "v"))])
    store.commit([Write(Ref(THINGS, f"{number:05d}"), body={"v": value}) for number, value in enumerate(found)])
    theirs = store.find(THINGS, Query({"v": {"$gte": None}}, sort=(("v", "asc"),), limit=10_000)).rows
    ours = sorted(theirs, key=lambda stored: (collation.tuple_key((stored.doc["v"],)), stored.ref.id))
    wrong = [(one.doc["v"], other.doc["v"]) for one, other in zip(theirs, ours, strict=True) if one.ref != other.ref]
    assert wrong == []
    assert len(theirs) == len(found)


SELECTORS: list[dict[str, Any]] = [
    {"v": {"$gt": "A"}},
    {"v": {"$gte": "a", "$lt": "b"}},
    {"v": {"$lt": None}},
    {"v": {"$ne": "a"}},
    {"v": {"$type": "array"}},
    {"v": {"$in": ["a", 1, [1], None]}},
    {"v": {"$nin": ["a", 1]}},
    {"v": {"$size": 1}},
    {"v": {"$all": [1]}},
    {"v": {"$mod": [3, 1]}},
    {"v": {"$regex": "^a"}},
    {"v": {"$beginsWith": "a"}},
    {"v": {"$elemMatch": {"$gt": 0}}},
    {"v": {"$allMatch": {"$gt": 0}}},
    {"v": {"$keyMapMatch": {"$eq": "a"}}},
    {"v": {"$exists": False}},
    {"v.a": 1},
    {"v": {"a": 1}},
    {"$or": [{"v": 1}, {"v": "z"}]},
    {"$nor": [{"v": {"$gt": None}}]},
    {"$not": {"v": {"$lt": "b"}}},
    {"$and": [{"v": {"$gt": 0}}, {"v": {"$lt": {}}}]},
    {"v": {"$not": {"$gt": 1}}},
    {"v": {"$eq": [1, 2]}},
    {"v": {"$gt": [1]}},
    {"v": {"$lte": {"a": 1}}},
]


@pytest.mark.timeout(120)
def test_selectors_match_as_in_couchdb(store: DocumentStore):
    found = values(random.Random(3))
    store.commit([Write(Ref(THINGS, f"{number:05d}"), body={"v": value}) for number, value in enumerate(found)])
    store.commit([Write(Ref(THINGS, "none"), body={"w": 1})])
    every = store.all(THINGS).rows
    for selector in SELECTORS:
        match = mango.matcher(selector)
        theirs = {stored.ref.id for stored in store.find(THINGS, Query(selector, limit=10_000)).rows}
        ours = {stored.ref.id for stored in every if match(stored.doc)}
        odd = [jsons.dump(stored.doc.get("v")) for stored in every if stored.ref.id in ours ^ theirs]
        assert odd == [], selector
