import pytest

from fedcoin.core.errors import HeightMismatch, UnknownBlock, UnknownParent
from fedcoin.ledger.fork_choice import BlockTree


def tree(*edges):
    """Blocks by letter; "a>b" is a block b on a. The root is g."""
    result = BlockTree(b"g")
    for parent, block in (edge.encode().partition(b">")[::2] for edge in edges):
        result.insert(block, parent, result.height(parent) + 1)
    return result


@pytest.fixture
def forked():
    #  g ─ a ─ b ─ c ─ d
    #       └ x ─ y ─ z
    #           └ w
    return tree("g>a", "a>b", "b>c", "c>d", "a>x", "x>y", "y>z", "x>w")


def test_longest_chain_wins(forked):
    assert forked.best() == b"d"
    forked.insert(b"zz", b"z", 5)
    assert forked.best() == b"zz"


def test_first_seen_wins_a_tie(forked):
    assert forked.candidates(0) == [b"d", b"z", b"w"]
    assert tree("g>b", "g>a").best() == b"b"
    assert tree("g>a", "g>b").best() == b"a"


def test_candidates_are_only_those_above_the_tip(forked):
    assert forked.candidates(3) == [b"d", b"z"]
    assert forked.candidates(4) == []


def test_root_alone_is_the_best():
    lone = BlockTree(b"g")
    assert (lone.best(), lone.height(b"g"), lone.parent(b"g"), len(lone)) == (b"g", 0, None, 1)


def test_path_undoes_downwards_and_applies_upwards(forked):
    assert forked.path(b"c", b"z") == ([b"c", b"b"], [b"x", b"y", b"z"])
    assert forked.path(b"a", b"c") == ([], [b"b", b"c"])
    assert forked.path(b"c", b"a") == ([b"c", b"b"], [])
    assert forked.path(b"c", b"c") == ([], [])


def test_fork_depth_counts_the_blocks_to_undo(forked):
    assert forked.fork_depth(b"c", b"z") == 2
    assert forked.fork_depth(b"z", b"w") == 2
    assert forked.fork_depth(b"b", b"c") == 0
    assert forked.fork_depth(b"c", b"a") == 2


def test_ancestors(forked):
    assert forked.common_ancestor(b"c", b"w") == b"a"
    assert forked.ancestor(b"z", 1) == b"a"
    assert forked.ancestor(b"z", 4) == b"z"
    assert forked.is_ancestor(b"a", b"w")
    assert forked.is_ancestor(b"w", b"w")
    assert not forked.is_ancestor(b"b", b"w")
    assert not forked.is_ancestor(b"z", b"x")
    with pytest.raises(UnknownBlock, match="no ancestor"):
        forked.ancestor(b"a", 2)


def test_invalid_block_takes_its_descendants_with_it(forked):
    forked.mark_invalid(b"y")
    assert (forked.is_invalid(b"y"), forked.is_invalid(b"z"), forked.is_invalid(b"x")) == (True, True, False)
    assert forked.candidates(0) == [b"d", b"w"]
    forked.insert(b"q", b"z", 5)
    assert forked.is_invalid(b"q")
    assert forked.best() == b"d"


def test_parent_of_invalid_blocks_becomes_a_candidate_again(forked):
    forked.mark_invalid(b"c")
    assert forked.candidates(0) == [b"z", b"w", b"b"]


def test_equals_after_invalidation_go_by_arrival_of_the_tip(forked):
    forked.mark_invalid(b"c")
    forked.mark_invalid(b"z")
    forked.mark_invalid(b"z")
    assert forked.candidates(0) == [b"y", b"w", b"b"]


def test_all_branches_invalid_leave_the_root(forked):
    forked.mark_invalid(b"a")
    assert forked.candidates(-1) == [b"g"]
    with pytest.raises(ValueError, match="genesis"):
        forked.mark_invalid(b"g")


def test_inserting_twice_changes_nothing(forked):
    forked.insert(b"b", b"a", 2)
    assert forked.children(b"a") == (b"b", b"x")
    assert forked.candidates(0) == [b"d", b"z", b"w"]


def test_orphans_and_wrong_heights_are_refused(forked):
    with pytest.raises(UnknownParent):
        forked.insert(b"o", b"?", 5)
    with pytest.raises(HeightMismatch):
        forked.insert(b"o", b"a", 3)
    assert not forked.contains(b"o")
    assert forked.contains(b"a")


@pytest.mark.parametrize("ask", ["height", "parent", "children", "is_invalid", "mark_invalid"])
def test_unknown_block_is_said_to_be_unknown(forked, ask):
    with pytest.raises(UnknownBlock):
        getattr(forked, ask)(b"?")
