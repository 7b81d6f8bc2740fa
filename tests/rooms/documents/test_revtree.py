"""Revision trees come out the same whatever order their branches came in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozyd.documents.revtree import Tree, generation, given_path, is_revision, next_rev, rank
from cozyd.errors import BadRequest


@dataclass(frozen=True)
class Node:
    """One revision of a history: its path back to the root, and whether it is a deletion."""

    path: tuple[str, ...]
    deleted: bool


@st.composite
def histories(draw: st.DrawFn, most: int = 12) -> list[Node]:
    nodes: list[Node] = []
    for number in range(draw(st.integers(1, most))):
        parent = draw(st.none() | st.sampled_from(nodes)) if nodes else None
        above = parent.path if parent is not None else ()
        digest = draw(st.sampled_from("0123456789abcdef")) + f"{number:02x}"
        nodes.append(Node((f"{len(above) + 1}-{digest}", *above), draw(st.booleans())))
    return nodes


def merged(nodes: Sequence[Node], lengths: Sequence[int] | None = None) -> Tree:
    tree = Tree()
    for number, node in enumerate(nodes):
        tree.merge(node.path[: lengths[number]] if lengths else node.path, deleted=node.deleted)
    return tree


def seen(tree: Tree) -> Any:
    leaves = tree.leaves
    return tree.parents, leaves, [leaf in tree.deleted for leaf in leaves], tree.conflicts


@given(histories(), st.data())
def test_any_order_of_branches_gives_the_same_tree(history: list[Node], data: st.DataObject):
    again = [*data.draw(st.permutations(history)), *data.draw(st.lists(st.sampled_from(history), max_size=4))]
    assert seen(merged(again)) == seen(merged(history))


@given(histories(), st.data())
def test_the_winner_is_live_then_longest_then_greatest(history: list[Node], data: st.DataObject):
    some = data.draw(st.lists(st.sampled_from(history), min_size=1, unique=True))
    tree = merged(some)
    known = {rev for node in some for rev in node.path}
    leaves = [node for node in history if node.path[0] in known and not any(node.path[0] in other.path[1:] for other in some)]
    best = max(leaves, key=lambda node: (not node.deleted, len(node.path), node.path[0].partition("-")[2]))
    assert tree.winner == best.path[0]
    assert set(tree.conflicts) == {node.path[0] for node in leaves if not node.deleted} - {tree.winner}


@given(histories(), st.data())
def test_cut_histories_grow_together_when_the_rest_comes(history: list[Node], data: st.DataObject):
    order = data.draw(st.permutations(history))
    lengths = [data.draw(st.integers(1, len(node.path))) for node in order]
    tree = merged(order, lengths)
    for node in order:
        tree.merge(node.path, deleted=node.deleted)
    assert tree.parents == merged(history).parents
    assert tree.leaves == merged(history).leaves


@given(histories(), st.data())
def test_merging_tells_whether_anything_new_came(history: list[Node], data: st.DataObject):
    tree = Tree()
    for node in data.draw(st.lists(st.sampled_from(history))):
        before = dict(tree.parents)
        assert tree.merge(node.path, deleted=node.deleted) == (tree.parents != before)


@given(histories(), st.integers(1, 5))
def test_stemming_keeps_leaves_and_what_is_near_them(history: list[Node], limit: int):
    tree, whole = merged(history), merged(history)
    gone = tree.stem(limit)
    assert tree.leaves == whole.leaves
    for leaf in tree.leaves:
        kept = tree.path(leaf)
        assert kept[:limit] == whole.path(leaf)[:limit]
        assert kept == whole.path(leaf)[: len(kept)]
    assert set(gone) == whole.parents.keys() - tree.parents.keys()
    assert all(not any(rev in whole.path(leaf)[:limit] for leaf in whole.leaves) for rev in gone)


@given(histories(), st.data())
def test_what_is_missing_is_told(history: list[Node], data: st.DataObject):
    known = data.draw(st.lists(st.sampled_from(history)))
    tree = merged(known)
    asked = [node.path[0] for node in history]
    assert set(tree.missing(asked)) == set(asked) - {rev for node in known for rev in node.path}
    assert all(generation(leaf) < max(map(generation, asked)) for leaf in tree.possible_ancestors(asked))


@given(histories())
def test_a_revision_grew_into_the_leaves_above_it(history: list[Node]):
    tree = merged(history)
    for node in history:
        grown = tree.grown_into(node.path[0])
        assert set(grown) == {leaf for leaf in tree.leaves if node.path[0] in tree.path(leaf)}
        assert list(grown) == sorted(grown, key=tree.leaves.index)


@given(histories(), st.data())
def test_purging_forgets_a_leaf_and_its_own_ancestors(history: list[Node], data: st.DataObject):
    tree = merged(history)
    leaf = data.draw(st.sampled_from(tree.leaves))
    others = {rev for other in tree.leaves if other != leaf for rev in tree.path(other)}
    gone = tree.purge(leaf)
    assert set(tree.parents) == others
    assert leaf in gone
    assert tree.purge("9-none") == ()


def test_revisions_compare_by_number_then_text():
    assert sorted(["10-a", "9-f", "10-b", "2-z"], key=rank) == ["2-z", "9-f", "10-a", "10-b"]


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=4), st.randoms(), st.booleans())
def test_the_same_edit_gives_the_same_revision(body: dict[str, int], random: Any, deleted: bool):
    items = list(body.items())
    random.shuffle(items)
    first = next_rev("3-abc", body, deleted=deleted)
    assert first == next_rev("3-abc", dict(items), deleted=deleted)
    assert first.startswith("4-")
    assert len({first, next_rev("3-abd", body, deleted=deleted), next_rev("3-abc", body, deleted=not deleted)}) == 3


@pytest.mark.parametrize("rev", ["1-a", "10-0f", "2147483647-" + "a" * 32])
def test_revisions_have_a_number_and_a_hash(rev: str):
    assert is_revision(rev)


@pytest.mark.parametrize("rev", ["", "1", "1-", "-a", "0-a", "x-a", "²-a", "1-a b", "1-a\n", "1-é", '"1-a"', 5, None, "99999999999-a"])
def test_what_is_no_revision(rev: Any):
    assert not is_revision(rev)


@pytest.mark.parametrize(
    ("doc", "path"),
    [
        ({"_rev": "2-b"}, ["2-b"]),
        ({"_rev": "2-b", "_revisions": {"start": 2, "ids": ["b", "a"]}}, ["2-b", "1-a"]),
        ({"_revisions": {"start": 2, "ids": ["b", "a"]}}, ["2-b", "1-a"]),
        ({"_rev": "2-b", "_revisions": {"start": 3, "ids": ["b", "a"]}}, ["2-b"]),
        ({"_rev": "2-b", "_revisions": {"start": 2, "ids": ["b", "a", "surplus"]}}, ["2-b", "1-a"]),
        ({"_rev": "2-b", "_revisions": {"start": 2, "ids": []}}, ["2-b"]),
    ],
)
def test_a_replica_s_branch_is_read(doc: dict[str, Any], path: list[str]):
    assert given_path(doc) == path


ODD = [{"_rev": "2-b", "_revisions": odd} for odd in ("odd", {}, {"start": "2", "ids": ["b"]}, {"start": 2, "ids": "b"})]


@pytest.mark.parametrize("doc", [{}, {"_rev": 5}, {"_rev": "x"}, {"_rev": "2-b", "_revisions": {"start": 2, "ids": ["b", {}]}}, *ODD])
def test_a_branch_without_revisions_is_refused(doc: dict[str, Any]):
    with pytest.raises(BadRequest):
        given_path(doc)
