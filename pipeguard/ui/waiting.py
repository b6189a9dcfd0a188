"""The first page: what waits for the person, and the answers to it."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from aiohttp import web

from pipeguard.ui.cards import GROUPS, find_card, find_waiting
from pipeguard.ui.decisions import NothingDoneError, Reply, carry_out
from pipeguard.ui.page import PAGE, VISITOR, draw, with_store
from pipeguard.unicode.display import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeguard.ui.cards import Card, CardAnswer

REASON_CHARS = 500
NO_TERMINAL = "No terminal can show a number. Start: pipeguard ui"


def add_routes(app: web.Application) -> None:
    """Add the addresses of this page."""
    app.router.add_get("/", _waiting)
    app.router.add_post("/decide/{card}", _decide)
    app.router.add_post("/undo", _undo)
    app.router.add_post("/unlock", _unlock)
    app.router.add_post("/lock", _lock)


async def _waiting(request: web.Request) -> web.StreamResponse:
    waiting = await with_store(request, find_waiting)
    groups = [(name, [card for card in waiting.cards if card.group == name]) for name in GROUPS]
    title = f"Waiting ({len(waiting.cards) + waiting.more})"
    shown = [(name, cards) for name, cards in groups if cards]
    return await draw(request, "waiting.html", title, groups=shown, waiting=waiting)


async def _decide(request: web.Request) -> web.StreamResponse:
    page, visitor, form = request.app[PAGE], request[VISITOR], await request.post()
    values = {name: str(value) for name, value in form.items()}
    ticked = [str(value) for value in form.getall("tick", [])]
    why = " ".join(values.get("why", "").split())[:REASON_CHARS]
    card = await with_store(request, lambda store: find_card(store, request.match_info["card"]))
    answer = card.find_answer(values.get("answer", "")) if card else None
    if card is None or answer is None:
        raise NothingDoneError("It no longer waits: it was decided elsewhere, or withdrawn.")
    if values.get("shown") != card.digest:
        raise NothingDoneError("It changed after this card was drawn. Look at it again.")
    if answer.needs_reason and not why:
        raise NothingDoneError("Say why it is a false alarm: the policy keeps the reason.")
    if answer.opens and not page.door.is_unlocked(visitor):
        what = "\0".join((card.id, card.digest, answer.name, why, *sorted(ticked)))
        if not page.door.accept(visitor, what, values.get("number", "")):
            hidden = [*values.items(), *(("tick", number) for number in ticked)]
            return await _ask_number(request, what, hidden, card, answer)
    reply = Reply(answer, page.by, why, tuple(ticked))
    decision = await with_store(request, lambda store: carry_out(store, card, reply))
    page.remember(decision)
    raise web.HTTPSeeOther("/")


async def _ask_number(
    request: web.Request,
    what: str,
    hidden: Sequence[tuple[str, str]],
    card: Card | None = None,
    answer: CardAnswer | None = None,
) -> web.StreamResponse:
    """Ask for the number that the terminal shows, for an answer or for the lock of the page.

    Args:
        request: the form that was sent.
        what: the answer, in every detail.
        hidden: the form's fields, which the next form sends again.
        card: that is answered; None for the lock.
        answer: to it.
    """
    page, visitor = request.app[PAGE], request[VISITOR]
    if visitor.question is None or visitor.question.what != what:
        sentence = "unlock the page for 15 minutes"
        if card is not None and answer is not None:
            sentence = f"{answer.label.lower()} ({card.what.lower()}, {visible(card.server)})"
        if not page.door.ask(visitor, what, sentence):
            raise NothingDoneError(NO_TERMINAL)
    is_wrong = any(name == "number" for name, _ in hidden)
    title = "Type the number"
    return await draw(
        request, "number.html", title, card=card, answer=answer, hidden=hidden, is_wrong=is_wrong
    )


async def _undo(request: web.Request) -> web.StreamResponse:
    page, form = request.app[PAGE], await request.post()
    taken = page.taken.pop(str(form.get("decision", "")), None)
    if taken is None or taken.until <= monotonic() or taken.decision.undo is None:
        raise NothingDoneError("It can no longer be taken back here.")
    if not await with_store(request, taken.decision.undo):
        raise NothingDoneError("Something else has changed it since.")
    raise web.HTTPSeeOther("/")


async def _unlock(request: web.Request) -> web.StreamResponse:
    page, visitor, form = request.app[PAGE], request[VISITOR], await request.post()
    if page.door.accept(visitor, "unlock", str(form.get("number", ""))):
        page.door.unlock(visitor)
        raise web.HTTPSeeOther("/")
    return await _ask_number(request, "unlock", [(k, str(v)) for k, v in form.items()])


async def _lock(request: web.Request) -> web.StreamResponse:
    request.app[PAGE].door.lock(request[VISITOR])
    raise web.HTTPSeeOther("/")
