"""Proof that one regular expression matches wherever another does.

Both become automata over bytes. Every run of the first is followed together with all runs of the
second, until the second has matched; a run of the first that ends before is a counterexample. The
second may start anywhere in the run, and knows of the text before it only its last byte. A set of
states is an integer with a bit for each: so a step of all of them over a byte is one operation.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

EDGE = -1  # where a text begins or ends
EVERY = frozenset(range(256))
WORD = frozenset(byte for byte in range(128) if chr(byte).isalnum() or byte == ord("_"))
SPACE = frozenset(b" \t\n\r\x0b\x0c")
DIGIT = frozenset(b"0123456789")
CATEGORIES = {
    codes.CATEGORY_WORD: WORD,
    codes.CATEGORY_NOT_WORD: EVERY - WORD,
    codes.CATEGORY_SPACE: SPACE,
    codes.CATEGORY_NOT_SPACE: EVERY - SPACE,
    codes.CATEGORY_DIGIT: DIGIT,
    codes.CATEGORY_NOT_DIGIT: EVERY - DIGIT,
}
# The kinds of neighbours that an assertion tells apart.
KINDS = EDGE, ord("a"), ord(" "), ord("\n")
LIMIT = 100_000  # steps, after which nothing is proved

Bytes = frozenset[int]
States = int  # bit n is state n


class _Neighbours(NamedTuple):
    """The kinds of the bytes before and after a place in a text."""

    before: int
    after: int


def _kind(byte: int) -> int:
    return byte if byte in {EDGE, ord("\n")} else ord("a") if byte in WORD else ord(" ")


def _fold(chars: Bytes) -> Bytes:
    """The bytes, with both cases of each ASCII letter."""
    return frozenset(ord(form) for byte in chars for form in _cases(chr(byte)))


def _cases(char: str) -> set[str]:
    return {char.lower(), char.upper()} if char.isascii() else {char}


def _holds(what: Any, flags: int, at: _Neighbours) -> bool:
    """True if an assertion (`\\b`, `\\A`, `$`, ...) holds between two neighbours."""
    edge = at.before in WORD, at.after in WORD
    lines = bool(flags & codes.SRE_FLAG_MULTILINE)
    tests: dict[Any, bool] = {
        codes.AT_BOUNDARY: edge[0] != edge[1],
        codes.AT_NON_BOUNDARY: edge[0] == edge[1],
        codes.AT_BEGINNING_STRING: at.before == EDGE,
        codes.AT_BEGINNING: at.before == EDGE or (lines and at.before == ord("\n")),
        codes.AT_END_STRING: at.after == EDGE,
        codes.AT_END: at.after == EDGE or (lines and at.after == ord("\n")),
    }
    return tests[what]


class _Automaton:
    """A pattern's automaton: per state, the steps without a byte, and at most one step over one.

    That one leads to the next state.
    """

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self.free: list[list[int]] = []
        self.asserted: list[list[tuple[Any, int, int]]] = []
        self.over: list[Bytes] = []
        self.start = self._add()
        tree = parser.parse(pattern.pattern, pattern.flags)
        self.end = self._append(tree, tree.state.flags, self.start)
        self.reach, self.reach_all = cache(self._reach), cache(self._reach_all)
        by_bytes: dict[Bytes, States] = {}  # many states take the same bytes
        for number, chars in enumerate(self.over):
            by_bytes[chars] = by_bytes.get(chars, 0) | 1 << number
        self.taking = [
            sum(states for chars, states in by_bytes.items() if byte in chars)
            for byte in range(256)
        ]

    def _add(self, *, after: int | None = None) -> int:
        self.free.append([])
        self.asserted.append([])
        self.over.append(frozenset())
        state = len(self.free) - 1
        if after is not None:
            self.free[after].append(state)
        return state

    def _append(self, tree: Any, flags: int, state: int) -> int:
        for operator, argument in tree:
            state = self._PARTS[operator](self, argument, flags, self._add(after=state))
        return state

    def _literal(self, byte: int, flags: int, state: int) -> int:
        return self._in([(codes.LITERAL, byte)], flags, state)

    def _not_literal(self, byte: int, flags: int, state: int) -> int:
        return self._in([(codes.NEGATE, None), (codes.LITERAL, byte)], flags, state)

    def _any(self, _argument: None, flags: int, state: int) -> int:
        every = [(codes.RANGE, (0, 255))]
        line = [(codes.NEGATE, None), (codes.LITERAL, ord("\n"))]
        return self._in(every if flags & codes.SRE_FLAG_DOTALL else line, 0, state)

    def _in(self, items: list[tuple[Any, Any]], flags: int, state: int) -> int:
        self.over[state] = _read_set((*items,), flags & codes.SRE_FLAG_IGNORECASE)
        return self._add()

    def _at(self, what: Any, flags: int, state: int) -> int:
        end = self._add()
        self.asserted[state].append((what, flags, end))
        return end

    def _group(self, argument: Any, flags: int, state: int) -> int:
        _, added, removed, tree = argument
        return self._append(tree, (flags | added) & ~removed, state)

    def _branch(self, argument: Any, flags: int, state: int) -> int:
        end = self._add()
        for tree in argument[1]:
            self.free[self._append(tree, flags, self._add(after=state))].append(end)
        return end

    def _repeat(self, argument: Any, flags: int, state: int) -> int:
        least, most, tree = argument
        for _ in range(least):
            state = self._append(tree, flags, state)
        if most is codes.MAXREPEAT:
            state = self._add(after=state)
            self.free[self._append(tree, flags, self._add(after=state))].append(state)
            return self._add(after=state)
        end = self._add(after=state)
        for _ in range(most - least):
            state = self._append(tree, flags, state)
            self.free[state].append(end)
        return end

    _PARTS: dict[Any, Callable[["_Automaton", Any, int, int], int]] = {  # noqa: RUF012  never changed
        codes.LITERAL: _literal,
        codes.NOT_LITERAL: _not_literal,
        codes.ANY: _any,
        codes.IN: _in,
        codes.AT: _at,
        codes.SUBPATTERN: _group,
        codes.BRANCH: _branch,
        codes.MAX_REPEAT: _repeat,
        codes.MIN_REPEAT: _repeat,
    }

    def _reach(self, state: int, at: _Neighbours) -> States:
        """Return states reachable from one without a byte that have further transitions."""
        seen = {state}
        waiting = [state]
        while waiting:
            here = waiting.pop()
            held = [end for what, flags, end in self.asserted[here] if _holds(what, flags, at)]
            waiting += new if (new := {*self.free[here], *held} - seen) else ()
            seen |= new
        return sum(1 << state for state in seen if self.over[state] or state == self.end)

    def _reach_all(self, states: States, at: _Neighbours) -> States:
        """Return the states reachable from several states, or from the start."""
        reached = self.reach(self.start, at)
        for state in _numbers(states):
            reached |= self.reach(state, at)
        return reached

    def has_ended(self, states: States) -> bool:
        """True if the whole pattern has matched."""
        return bool(states >> self.end & 1)

    def step(self, states: States, byte: int) -> States:
        """The states after one byte."""
        return (states & self.taking[byte]) << 1


def _numbers(states: States) -> Iterator[int]:
    while states:
        yield states.bit_length() - 1
        states ^= 1 << states.bit_length() - 1


@cache  # a repetition has the same set as often as it repeats
def _read_set(items: tuple[tuple[Any, Any], ...], ignores_case: int) -> Bytes:
    chars = frozenset[int]().union(*(_chars(code, value) for code, value in items))
    chars = _fold(chars) if ignores_case else chars
    return EVERY - chars if items[0][0] is codes.NEGATE else chars


def _chars(code: Any, value: Any) -> Bytes:
    if code is codes.LITERAL:
        return frozenset([value])
    if code is codes.RANGE:
        return frozenset(range(value[0], value[1] + 1))
    return CATEGORIES[value] if code is codes.CATEGORY else frozenset()


class _Run(NamedTuple):
    """A state of the first automaton, those of the second, and the text so far."""

    state: int
    others: States
    text: tuple[int, ...]


def escape(pattern: re.Pattern[bytes], sign: re.Pattern[bytes]) -> bytes | None:
    """A text that begins with a match of `pattern` and in which `sign` need not match, if any.

    The text begins with the byte before the match (NUL for none).

    Raises:
        RuntimeError: neither a proof nor such a text within LIMIT steps.
    """
    if _begins_with(pattern, sign):
        return None
    first, second = _Automaton(pattern), _Automaton(sign)
    bytes_by_kind = _representatives({*first.over, *second.over})
    waiting = [_Run(first.start, 0, (kind,)) for kind in KINDS]
    seen = {(first.start, kind): [0] for kind in KINDS}  # sets of states of the second
    for _ in range(LIMIT):
        if not waiting:
            return None
        run = waiting.pop()
        if run.others not in seen[run.state, _kind(run.text[-1])]:
            continue  # a run with fewer states of the second came later
        for others, states, after in _places(first, second, run):
            if first.has_ended(states):
                return bytes(max(byte, 0) for byte in (*run.text, after))
            for byte in bytes_by_kind.get(after, ()):
                reached = second.step(others, byte)
                for state in _numbers(first.step(states, byte)):
                    known = seen.setdefault((state, _kind(byte)), [])
                    if not any(fewer & reached == fewer for fewer in known):
                        known[:] = [more for more in known if more & reached != reached] + [reached]
                        waiting.append(_Run(state, reached, (*run.text, byte)))
    raise RuntimeError("no proof")


def _begins_with(pattern: re.Pattern[bytes], sign: re.Pattern[bytes]) -> bool:
    """True if a pattern is the sign followed by more."""
    whole = parser.parse(pattern.pattern, pattern.flags).data
    start = parser.parse(sign.pattern, sign.flags).data
    return repr(whole[: len(start)]) == repr(start)


def _places(
    first: _Automaton, second: _Automaton, run: _Run
) -> Iterator[tuple[States, States, int]]:
    """For each kind of the next byte: the second's states, the first's, and that kind.

    Leaves out the kinds with which the second has matched.
    """
    for after in KINDS:
        at = _Neighbours(_kind(run.text[-1]), after)
        others = second.reach_all(run.others, at)
        if not second.has_ended(others):
            yield others, first.reach(run.state, at), after


def _representatives(classes: set[Bytes]) -> dict[int, list[int]]:
    """One byte of each set of bytes that no step tells apart, by its kind."""
    told_apart = [*classes, WORD, frozenset([ord("\n")])]
    chosen = {tuple(byte in chars for chars in told_apart): byte for byte in range(256)}
    by_kind: dict[int, list[int]] = {}
    for byte in chosen.values():
        by_kind.setdefault(_kind(byte), []).append(byte)
    return by_kind
