"""Values of callers, whose number nobody bounds: those in use, and those that were used last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


class RecentlyUsed(Generic[_T]):
    """Values by name. One that something else refers to stays, however long ago it was used.

    Args:
        most: values to keep that nothing else refers to.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._all = WeakValueDictionary[str, _T]()
        self._recent: dict[str, _T] = {}  # the last used ones are at the end

    def find(self, name: str, make: Callable[[], _T]) -> _T:
        """The value of a name; a new one if there is none."""
        value = self._all.get(name)
        if value is None:
            value = self._all[name] = make()
        self._recent.pop(name, None)
        self._recent[name] = value
        if len(self._recent) > self._most:
            del self._recent[next(iter(self._recent))]
        return value

    def values(self) -> list[_T]:
        """All of them."""
        return [*self._all.values()]
