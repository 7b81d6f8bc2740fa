"""Manifests: what is read, what is refused, which file a path leads to."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cozyd.apps.manifest import check_slug, document, localised, match, parse, routes_of
from cozyd.errors import BadRequest, Invalid
from tests.support.apps import manifest


def read(**changes: Any):
    return parse(json.dumps(manifest(**changes)).encode(), "webapp", "tiny")


def test_what_the_server_does_not_know_is_kept():
    found = document(read(screenshots=["a.png"]), source="x", version="1", checksum="", created_at="c", updated_at="u")
    assert (found["own_key"], found["screenshots"], found["state"]) == ({"kept": True}, ["a.png"], "ready")
    assert found["_id"] == "io.cozy.apps/tiny"


@pytest.mark.parametrize("slug", ["", "A", "a.b", "a_b", "a/b", "..", "a" * 64, "é", "a b", "a\n"])
def test_a_slug_is_part_of_a_host(slug: str):
    with pytest.raises(Invalid):
        check_slug(slug)


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "konnector"},
        {"version": 1},
        {"version": "1\n2"},
        {"name": {}},
        {"routes": []},
        {"routes": {"/": "x"}},
        {"routes": {"nope": {"folder": "/"}}},
        {"routes": {"/a//b": {"folder": "/"}}},
        {"routes": {"/": {"folder": "/../etc"}}},
        {"routes": {"/": {"folder": "/", "index": "../secret"}}},
        {"routes": {"/": {"folder": "a\\b"}}},
        {"routes": {"/x": {"folder": "/a"}, "/x/": {"folder": "/b"}}},
        {"routes": {f"/{number}": {"folder": "/"} for number in range(201)}},
        {"permissions": {"a": {"type": "Not A Doctype"}}},
        {"permissions": {"a": {"type": "io.cozy.files", "verbs": ["FETCH"]}}},
        {"permissions": []},
        {"intents": {}},
        {"intents": [{"action": 1}]},
        {"intents": [{"type": [1]}]},
        {"services": {"a": {"file": "../../bin/sh"}}},
        {"services": {"a": []}},
        {"terms": []},
        {"locales": "fr"},
    ],
    ids=lambda changes: json.dumps(changes)[:60],
)
def test_a_manifest_that_cannot_be_is_refused(changes: dict[str, Any]):
    with pytest.raises(BadRequest):
        read(**changes)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{", b"null", b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", b'{"a":"' + b"x" * (2 << 20) + b'"}']
)
def test_what_is_no_manifest_is_refused(text: bytes):
    with pytest.raises(BadRequest):
        parse(text, "webapp", "tiny")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["routes", "services", "intents", "permissions", "type", "/", "folder", "terms"]), inner, max_size=4
            )
        ),
        max_leaves=12,
    )
)
def test_no_manifest_breaks_the_reader(given: Any):
    with suppress(BadRequest):
        parse(json.dumps(given).encode(), "webapp", "tiny")


ROUTES = routes_of(
    {
        "routes": {
            "/": {"folder": "/", "index": "index.html"},
            "/public": {"folder": "/pub", "index": "i.html", "public": True},
            "/a/b": {"folder": "ab"},
        }
    }
)


@pytest.mark.parametrize(
    ("path", "folder", "rest"),
    [
        ("/", "", "index.html"),
        ("", "", "index.html"),
        ("/x/y.js", "", "x/y.js"),
        ("/public", "pub", "i.html"),
        ("/public/", "pub", "i.html"),
        ("//public//a.js", "pub", "a.js"),
        ("/publicity", "", "publicity"),
        ("/a/b/c", "ab", "c"),
        ("/a/./b/c", "ab", "c"),
        ("/a", "", "a"),
    ],
)
def test_the_longest_route_by_whole_parts_answers(path: str, folder: str, rest: str):
    found = match(ROUTES, path)
    assert found is not None
    assert (found[0].folder, found[1]) == (folder, rest)


@pytest.mark.parametrize("path", ["/../x", "/public/../../x", "/a/b"])
def test_a_path_that_climbs_or_ends_at_nothing_is_nowhere(path: str):
    assert match(ROUTES, path) is None


def test_an_app_is_called_in_the_language_of_its_user():
    assert [localised(manifest(), locale) for locale in ("fr", "en", "de")] == ["Petit", "Tiny", "Tiny"]
    assert localised({"slug": "a", "locales": {"en": []}}, "en") == "a"
