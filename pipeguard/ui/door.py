"""The door of the page: it lets browsers in, and asks for numbers before something opens.

An agent with a shell or a browser runs as the same user, so a cookie proves little. The link works
once and is shown only on a terminal. An answer that opens something needs a number that is shown
only there, too, unless the person has unlocked the page for a while. SECURITY.md says how high that
hurdle is. Everything is in memory and ends with the process.
"""

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from time import monotonic

NUMBER_SECONDS = 120.0  # for which a number works
UNLOCKED_SECONDS = 900.0
VISIT_SECONDS = 43_200.0  # without a request, after which a browser needs another link
MOST_TRIES = 3  # of one number
MOST_WRONG = 10  # of one visit: whoever has the cookie of a visit may guess
MOST_VISITORS = 8
NUMBERS = 9000  # from 1000 on: four digits
# The end of a link, on the clock of the door, and whether whoever got it may still come in.
LinkKeys = dict[str, tuple[float, Callable[[], bool]]]


@dataclass(slots=True)
class Question:
    """A request to type the number that a terminal shows.

    Attributes:
        what: the answer that it confirms, in every detail.
        number: the number on the terminal.
        until: when it expires, on the door's clock.
        tries: the remaining tries.
    """

    what: str
    number: str
    until: float
    tries: int = MOST_TRIES


@dataclass(slots=True)
class Visitor:
    """A browser that came in by a link.

    Attributes:
        may_stay: False once the link's owner has lost access.
        until: when the visit ends without a request, on the clock of the door.
        secret: known only to the door, and different from the cookie.
        unlocked_until: until then answers need no number, on the clock of the door.
        question: the last unanswered request for a number.
        wrong: the number of wrong numbers.
    """

    may_stay: Callable[[], bool]
    until: float
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    unlocked_until: float = 0.0
    question: Question | None = None
    wrong: int = 0

    def form_token(self) -> str:
        """The token that each form of this visitor carries (CSRF)."""
        return hmac.new(self.secret, b"form", sha256).hexdigest()

    def has_sent(self, token: str) -> bool:
        """True if a form carries the visitor's token."""
        return hmac.compare_digest(token.encode(), self.form_token().encode())


class Door:
    """Lets visitors in, and asks for numbers.

    Args:
        show: prints a line on the person's terminals; False if there is none.
        keys: the keys of links, each of which lets one browser in, once.
    """

    def __init__(self, show: Callable[[str], bool], keys: LinkKeys) -> None:
        self._show = show
        self._keys = keys
        self._visitors: dict[str, Visitor] = {}

    def enter(self, key: str) -> str | None:
        """Use up a link; return the new visitor's cookie, or None if the link does not work."""
        until, may_stay = self._keys.pop(key, (0.0, bool))
        if until <= monotonic() or not may_stay():
            return None
        while len(self._visitors) >= MOST_VISITORS:
            del self._visitors[next(iter(self._visitors))]
        cookie = secrets.token_urlsafe(32)
        self._visitors[cookie] = Visitor(may_stay, monotonic() + VISIT_SECONDS)
        return cookie

    def find_visitor(self, cookie: str) -> Visitor | None:
        """Return the visitor with this cookie, if the visit has not ended."""
        visitor, now = self._visitors.get(cookie), monotonic()
        if visitor is None or visitor.until <= now or not visitor.may_stay():
            self._visitors.pop(cookie, None)
            return None
        visitor.until = now + VISIT_SECONDS
        return visitor

    def is_unlocked(self, visitor: Visitor) -> bool:
        """True while the visitor's answers need no number."""
        return monotonic() < visitor.unlocked_until

    def unlock(self, visitor: Visitor) -> None:
        """Let the visitor answer without a number for a while."""
        visitor.unlocked_until = monotonic() + UNLOCKED_SECONDS

    def ask(self, visitor: Visitor, what: str, sentence: str) -> bool:
        """Show a number for an answer on the terminal, replacing the one before.

        Args:
            visitor: the visitor who gives the answer.
            what: the answer, in every detail: the number confirms no other.
            sentence: the same for the terminal, as `approve 2 tools of weather`.

        Returns:
            False if no terminal shows it.
        """
        number = f"{secrets.randbelow(NUMBERS) + 1000}"
        is_shown = self._show(f"To {sentence}, type {number} on the page.")
        end = monotonic() + NUMBER_SECONDS
        visitor.question = Question(what, number, end) if is_shown else None
        return is_shown

    def forget_numbers(self) -> None:
        """Ask for new numbers: other terminals show them now."""
        for visitor in self._visitors.values():
            visitor.question = None

    def accept(self, visitor: Visitor, what: str, number: str) -> bool:
        """True if the visitor typed the number for this answer; each number works once."""
        question = visitor.question
        if question is not None and question.until <= monotonic():
            question = visitor.question = None
        if question is None or question.what != what:
            return False
        if hmac.compare_digest(number.strip().encode(), question.number.encode()):
            visitor.question = None
            return True
        question.tries -= 1
        if question.tries <= 0:
            visitor.question = None
        visitor.wrong += 1
        if visitor.wrong >= MOST_WRONG:
            visitor.question, visitor.until = None, 0.0
            self._show(f"{MOST_WRONG} wrong numbers were typed: the browser needs another link.")
        return False
