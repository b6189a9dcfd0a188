"""Values and their positions: the members of a map by their keys."""

from pipeguard.config.json_text import Json
from pipeguard.config.tree import Member, Node, NodeKind

COUNT = 300


class _Key(str):
    """A key that counts comparisons with others."""

    __slots__ = ()
    __hash__ = str.__hash__
    compared = 0

    def __eq__(self, other: object) -> bool:
        _Key.compared += 1
        return str.__eq__(self, other)


def test_members_are_found_without_a_look_at_all_of_them() -> None:
    """Planning a file of 9,000 servers took ten seconds, of which this was six."""
    value = Node(NodeKind.OTHER, 0, 0)
    names = [f"server-{number}" for number in range(COUNT)]
    node = Node(NodeKind.MAP, 0, 0, members=[Member(_Key(name), 0, 0, value) for name in names])
    assert all(node.member(name) for name in names)
    assert _Key.compared < 10 * COUNT


def test_of_members_with_one_key_the_last_counts_also_after_a_look() -> None:
    tree = Json().read('{"a": 1, "b": 2, "a": 3}')
    found = tree.member("a")
    assert found is not None
    assert found.value.data() == 3
    tree.members.append(Member("b", 0, 0, found.value))
    added = tree.member("b")
    assert added is tree.members[-1]
    tree.members = tree.members[:2]
    assert tree.member("b") is tree.members[1]
    assert tree.member("c") is None
