"""The first page: what waits for the person, and the answers to it."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from aiohttp import web

from pipeguard.ui.cards import GROUPS, find_card, find_waiting, find_why
from pipeguard.ui.decisions import ChosenAnswer, NothingDoneError, carry_out_all, choose_opening
from pipeguard.ui.offers import list_offers, make_tick
from pipeguard.ui.page import PAGE, VISITOR, draw, with_store
from pipeguard.unicode.display import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeguard.ui.cards import Card

REASON_CHARS = 500
NO_TERMINAL = "No terminal can show a number. Start: pipeguard ui"


def add_routes(app: web.Application) -> None:
    """Add the addresses of this page."""
    app.router.add_get("/", _waiting)
    app.router.add_post("/decide/{card}", _decide)
    app.router.add_post("/several", _decide_several)
    app.router.add_post("/undo", _undo)
    app.router.add_post("/unlock", _unlock)
    app.router.add_post("/lock", _lock)


async def _waiting(request: web.Request) -> web.StreamResponse:
    waiting, scans = await with_store(request, find_waiting), request.app[PAGE].scans
    scans.want(each for card in waiting.cards for each in card.definitions)
    groups = [(name, [card for card in waiting.cards if card.group == name]) for name in GROUPS]
    title = f"Waiting ({len(waiting.cards) + waiting.more})"
    shown = [(name, cards) for name, cards in groups if cards]
    values = {"groups": shown, "waiting": waiting, "scans": scans}
    functions = {"list_offers": list_offers, "why": find_why}
    return await draw(request, "waiting.html", title, **values, **functions)


async def _decide(request: web.Request) -> web.StreamResponse:
    page, form = request.app[PAGE], await request.post()
    values = {name: str(value) for name, value in form.items()}
    ticked = sorted({str(value) for value in form.getall("tick", [])})
    why = " ".join(values.get("why", "").split())[:REASON_CHARS]
    card = await with_store(request, lambda store: find_card(store, request.match_info["card"]))
    answer = card.find_answer(values.get("answer", "")) if card else None
    if card is None or answer is None:
        raise NothingDoneError("It no longer waits: it was decided elsewhere, or withdrawn.")
    if values.get("shown") != card.digest:
        raise NothingDoneError("It changed after this card was drawn. Look at it again.")
    if answer.needs_reason and not why:
        raise NothingDoneError("Say why it is a false alarm: the policy keeps the reason.")
    decided = ChosenAnswer(card, answer, page.by, why, tuple(ticked))
    if answer.opens:
        others = [(name, value) for name, value in values.items() if name != "tick"]
        hidden = [*others, *(("tick", number) for number in ticked)]
        question = await _ask_number(request, hidden, [decided])
        if question is not None:
            return question
    page.remember(await with_store(request, lambda store: carry_out_all(store, [decided])))
    raise web.HTTPSeeOther("/")


async def _decide_several(request: web.Request) -> web.StreamResponse:
    """Refuse or allow all that is ticked in the list, as it was shown."""
    page, form = request.app[PAGE], await request.post()
    items = sorted({str(value) for value in form.getall("item", [])})
    waiting = await with_store(request, find_waiting)
    shown = {f"{card.id} {card.digest}": card for card in waiting.cards}
    if not items:
        raise NothingDoneError("Nothing is ticked in the list.")
    if not shown.keys() >= set(items):
        raise NothingDoneError("One of them changed meanwhile, or was decided elsewhere.")
    cards = [shown[item] for item in items]
    decided = [ChosenAnswer(card, card.find_refusal(), page.by) for card in cards]
    if form.get("answer") == "allow":
        decided = [each for card in cards if (each := choose_opening(card, page.scans, page.by))]
        left = [card for card in cards if card not in [each.card for each in decided]]
        hidden = [("answer", "allow"), *(("item", item) for item in items)]
        question = await _ask_number(request, hidden, decided, left, is_list=True)
        if question is not None:
            return question
    page.remember(await with_store(request, lambda store: carry_out_all(store, decided)))
    raise web.HTTPSeeOther("/")


async def _ask_number(
    request: web.Request,
    hidden: Sequence[tuple[str, str]],
    decided: Sequence[ChosenAnswer] = (),
    left: Sequence[Card] = (),
    *,
    is_list: bool = False,
) -> web.StreamResponse | None:
    """Ask for the number that the terminal shows, for answers or for the lock of the page.

    Args:
        request: the form that was sent.
        hidden: the form's fields, which the next form sends again.
        decided: the answers, each in every detail; none for the lock.
        left: cards that were ticked and cannot be answered so.
        is_list: whether the answers are shown first, even if the page is unlocked.

    Returns:
        The page that asks; None if the number is right, or none is needed.
    """
    page, visitor, form = request.app[PAGE], request[VISITOR], await request.post()
    if left and not decided:
        raise NothingDoneError("None of these can be allowed from the list: decide on their cards.")
    what = "\0".join(each.mark for each in decided) or "unlock"
    is_open = bool(decided) and page.door.is_unlocked(visitor)
    if is_open and (not is_list or "number" in form):
        return None
    if not is_open and "number" in form and page.door.accept(visitor, what, str(form["number"])):
        return None
    is_asked = visitor.question is not None and visitor.question.what == what
    if not is_open and not is_asked and not page.door.ask(visitor, what, _describe(decided)):
        raise NothingDoneError(NO_TERMINAL)
    return await draw(
        request,
        "number.html",
        "Look at all of it" if is_open else "Type the number",
        decided=decided,
        left=left,
        hidden=hidden,
        is_wrong="number" in form and not is_open,
        is_open=is_open,
        make_tick=make_tick,
    )


def _describe(decided: Sequence[ChosenAnswer]) -> str:
    """The answers in words, for the terminal."""
    if not decided:
        return "unlock the page for 15 minutes"
    if len(decided) > 1:
        return f"allow {len(decided)} things that the page lists"
    ((card, answer, *_),) = decided
    return f"{answer.label.lower()} ({card.what.lower()}, {visible(card.server)})"


async def _undo(request: web.Request) -> web.StreamResponse:
    page, form = request.app[PAGE], await request.post()
    taken = page.taken.pop(str(form.get("decision", "")), None)
    if taken is None or taken.until <= monotonic() or taken.decision.undo is None:
        raise NothingDoneError("It can no longer be taken back here.")
    if not await with_store(request, taken.decision.undo):
        raise NothingDoneError("Something else has changed it since.")
    raise web.HTTPSeeOther("/")


async def _unlock(request: web.Request) -> web.StreamResponse:
    question = await _ask_number(request, [])
    if question is not None:
        return question
    request.app[PAGE].door.unlock(request[VISITOR])
    raise web.HTTPSeeOther("/")


async def _lock(request: web.Request) -> web.StreamResponse:
    request.app[PAGE].door.lock(request[VISITOR])
    raise web.HTTPSeeOther("/")
