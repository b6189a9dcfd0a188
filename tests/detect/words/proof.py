"""How a table of words is proved: each word does what the table is for, and no other does."""

from collections.abc import Callable, Iterable
from types import ModuleType

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

Proof = Callable[[str], bool]
NO_WORD = "xyzzy"  # is in no table
PRINTABLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E)


def tables(module: ModuleType) -> set[str]:
    """The names of a module's tables."""
    return {name for name in vars(module) if name.isupper()}


def unproved(words: Iterable[str], proof: Proof) -> list[str]:
    """The words for which a proof does not hold; NO_WORD where it holds for any word."""
    return [word for word in words if not proof(word)] + [NO_WORD] * proof(NO_WORD)


def matching(expression: str) -> SearchStrategy[str]:
    """Texts that an entry matches which is an expression."""
    return st.from_regex(expression, fullmatch=True, alphabet=PRINTABLE)
