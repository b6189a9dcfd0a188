"""Regular expressions that are compiled when they are first used.

Compiling one takes from 50 µs to 4 ms, and a server that starts needs few of the hundreds there
are. Knows nothing of their purpose.
"""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    lazy_regex = re.compile
else:

    def lazy_regex(pattern, flags=0):
        """An expression with the methods and attributes of `re.compile(pattern, flags)`.

        A wrong pattern is an error at its first use: tests use each.
        """
        return _LazyRegex(pattern, flags)

    class _LazyRegex:
        """Represents a compiled expression; the functions of `re` do not accept it."""

        def __init__(self, pattern, flags):
            self.pattern = pattern
            self._flags = flags

        def __getattr__(self, name):
            """Compile, and keep the attribute: from now on it is found without this function."""
            if name.startswith("__"):  # asked by `copy`, of an object without a source yet
                raise AttributeError(name)
            if name == "_compiled":
                value = re.compile(self.pattern, self._flags)
            else:
                value = getattr(self._compiled, name)
            setattr(self, name, value)
            return value

        def __repr__(self):
            return f"lazy_regex({self.pattern!r}, {self._flags!r})"
