"""Named tuples of our own are those of `typing`."""

import typing

from pipeguard.records import NamedTuple


class Ours(NamedTuple):
    """A point."""

    x: int
    y: "int" = 2
    names: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """The sum of both."""
        return self.x + self.y

    def moved(self) -> "Ours":
        return self._replace(x=self.x + 1)


class Theirs(typing.NamedTuple):
    """A point."""

    x: int
    y: "int" = 2
    names: tuple[str, ...] = ()


def test_a_named_tuple_has_the_fields_defaults_and_members_of_its_class() -> None:
    assert Ours._fields == Theirs._fields
    assert Ours._field_defaults == Theirs._field_defaults
    assert Ours.__annotations__.keys() == Theirs.__annotations__.keys()
    assert (Ours.__doc__, Ours.__module__, Ours.__mro__[1]) == ("A point.", __name__, tuple)
    assert repr(Ours(1)) == "Ours(x=1, y=2, names=())"
    assert (Ours(1).total, Ours(1).moved()) == (3, (2, 2, ()))
