"""Pure rules of names, paths, types and classes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozyd.errors import BadRequest, Invalid
from cozyd.files import tree
from cozyd.files.kinds import class_of

LEGAL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0\n\r"), min_size=1, max_size=255).filter(
    lambda name: name not in (".", "..") and len(name.encode()) <= 255
)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "a\0", "a\nb", "a\rb", "x" * 256, "é" * 128])
def test_some_names_are_refused(name: str):
    with pytest.raises(Invalid):
        tree.check_name(name)


@pytest.mark.parametrize(
    "name", ["...", " ", "a\\b", "a:b", "CON", ".hidden", "x" * 255, "é" * 127, "\u202e", "a b+c%20", "~", "-rf *", "\x01"]
)
def test_all_others_are_fine(name: str):
    assert tree.check_name(name) == name


def test_twins_are_names_that_look_the_same():
    assert tree.same_name("e\u0301te\u0301") == tree.same_name("\u00e9t\u00e9")
    assert tree.same_name("A") != tree.same_name("a")


def test_a_path_is_absolute_and_does_not_climb():
    assert tree.split_path("/a//b/") == ["a", "b"]
    assert tree.split_path("/") == []
    for path in ("", "a", "../a"):
        with pytest.raises(BadRequest):
            tree.split_path(path)
    for path in ("/a/../b", "/./a"):
        with pytest.raises(Invalid):
            tree.split_path(path)


def test_paths_end_at_512_levels():
    tree.check_depth("/a" * 511)
    with pytest.raises(Invalid):
        tree.check_depth("/a" * 512)


@given(LEGAL, st.integers(0, 10**9 - 1))
def test_names_of_the_trash_stay_legal_and_lead_back(name: str, digits: int):
    trashed = tree.trash_name(name, digits)
    assert tree.check_name(trashed) != name
    assert name.startswith(tree.restored_name(trashed))
    assert len(name.encode()) > 243 or tree.restored_name(trashed) == name


@given(LEGAL, st.integers(2, 12))
def test_a_copy_is_called_another_name_with_the_same_extension(name: str, number: int):
    for made in (tree.copy_name(name), tree.numbered_name(name, number)):
        assert tree.check_name(made) != name
        base, _, extension = name.rpartition(".")
        assert not base or len(extension.encode()) > 32 or made.endswith("." + extension)


def test_copies_are_named_and_counted():
    assert [tree.copy_name("a.txt"), tree.copy_name("a.txt", "copie")] == ["a (copy).txt", "a (copie).txt"]
    assert tree.copy_name(".profile") == ".profile (copy)"
    assert tree.numbered_name("a (copy).txt", 2) == "a (copy) (2).txt"


@pytest.mark.parametrize(
    ("mime", "name"),
    [
        ("application/octet-stream", "files"),
        ("application/x-apple-diskimage", "binary"),
        ("application/x-msdownload", "binary"),
        ("text/html", "code"),
        ("text/css", "code"),
        ("text/xml", "code"),
        ("application/javascript", "code"),
        ("text/x-python", "code"),
        ("application/pdf", "pdf"),
        ("application/vnd.ms-powerpoint", "slide"),
        ("application/vnd.openxmlformats-officedocument.presentationml.presentation", "slide"),
        ("application/vnd.oasis.opendocument.spreadsheet", "spreadsheet"),
        ("application/vnd.ms-excel", "spreadsheet"),
        ("application/msword", "text"),
        ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "text"),
        ("application/zip", "zip"),
        ("application/x-7z-compressed", "zip"),
        ("application/gzip", "zip"),
        ("application/internet-shortcut", "shortcut"),
        ("image/svg+xml", "image"),
        ("text/plain", "text"),
        ("video/mp4", "video"),
    ],
)
def test_a_type_has_a_class(mime: str, name: str):
    assert class_of(mime) == name


def test_an_unreadable_time_is_the_epoch():
    assert tree.read_time("2020-01-02T03:04:05Z").isoformat() == "2020-01-02T03:04:05+00:00"
    assert tree.read_time("yesterday").year == 1970
    assert tree.write_time(tree.read_time("2020-01-02T03:04:05+02:00")) == "2020-01-02T01:04:05Z"
