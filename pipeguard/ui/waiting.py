"""The first page: the decisions that are pending, and the answers to them."""

from __future__ import annotations

import datetime
from contextlib import suppress
from time import monotonic

from aiohttp import web
from markupsafe import Markup

from pipeguard.state.audit import find_loosened
from pipeguard.ui.card import GROUPS, ChosenAnswer
from pipeguard.ui.cards import MOST_CARDS, carry_out_all, describe_waiting, find_card, find_waiting
from pipeguard.ui.decisions import DoneDecision, NothingDoneError
from pipeguard.ui.event_cards import find_why
from pipeguard.ui.headings import describe_reason
from pipeguard.ui.offers import list_offers, make_tick
from pipeguard.ui.own_policy import today
from pipeguard.ui.page import PAGE, VISITOR, OpeningAnswer, ask_number, draw, with_store
from pipeguard.ui.servers import find_isolate_paths
from pipeguard.ui.text import foreign, sentence, show_own
from pipeguard.unicode.display import quote_name

REASON_CHARS = 500
EXCEPTION_DAYS = datetime.timedelta(days=90)  # unless the person chooses another last day
UNLOCK = OpeningAnswer(
    "unlock",
    "unlock the page for 15 minutes",
    "Unlock",
    opens="every button of this page for 15 minutes, without the number",
)


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
    drawn = waiting[:MOST_CARDS]
    scans.want(each for card in drawn for each in card.definitions)
    groups = [(name, [card for card in drawn if card.group == name]) for name in GROUPS]
    title, count = f"Waiting ({len(waiting)})", describe_waiting(waiting)
    shown = [(name, cards) for name, cards in groups if cards]
    values = {"groups": shown, "waiting": waiting, "count": count, "scans": scans}
    values["more"] = len(waiting) - len(drawn)
    values["loosened"] = await with_store(request, find_loosened)
    if any(card.what == "New" for card in drawn):
        values["isolate_paths"] = await with_store(request, find_isolate_paths)
    values |= {"today": today(), "last_day": today() + EXCEPTION_DAYS}
    functions = {"list_offers": list_offers, "why": find_why, "reason": describe_reason}
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
    until = _read_last_day(values.get("until", "")) if answer.needs_reason else None
    decided = ChosenAnswer(card, answer, page.by, why, tuple(ticked), until)
    if answer.opens and (question := await ask_number(request, [_opening(decided)])) is not None:
        return question
    raise page.finish(await with_store(request, lambda store: carry_out_all(store, [decided])))


def _read_last_day(text: str) -> datetime.date:
    """Parse the last day of an exception from its form.

    Raises:
        NothingDoneError: it is not a date, or is in the past.
    """
    with suppress(ValueError):
        if (day := datetime.date.fromisoformat(text)) >= today():
            return day
    raise NothingDoneError("Choose the last day on which it is allowed: today, or a later one.")


async def _decide_several(request: web.Request) -> web.StreamResponse:
    """Refuse or allow all ticked cards of the list, as they were shown."""
    page, form = request.app[PAGE], await request.post()
    items = sorted({str(value) for value in form.getall("item", [])})
    waiting = await with_store(request, find_waiting)
    shown = {f"{card.id} {card.digest}": card for card in waiting[:MOST_CARDS]}
    if not items:
        raise NothingDoneError("Nothing is ticked in the list.")
    if not shown.keys() >= set(items):
        raise NothingDoneError("One of them changed in the meantime, or was decided elsewhere.")
    cards = [shown[item] for item in items]
    decided = [ChosenAnswer(card, card.answers[0], page.by) for card in cards]
    if form.get("answer") == "allow":
        decided = [each for card in cards if (each := card.choose_opening(page.scans, page.by))]
        left = [card.heading for card in cards if card not in [each.card for each in decided]]
        if not decided:
            raise NothingDoneError("None of these can be allowed from the list: use their cards.")
        question = await ask_number(request, [*map(_opening, decided)], left=left, is_list=True)
        if question is not None:
            return question
    raise page.finish(await with_store(request, lambda store: carry_out_all(store, decided)))


def _opening(chosen: ChosenAnswer) -> OpeningAnswer:
    """Convert an answer to a card to the form that the page for numbers shows."""
    card, answer = chosen.card, chosen.answer
    ticked = [each.pin.name for each in card.definitions if make_tick(each) in chosen.ticked]
    names = Markup(", ").join(map(foreign, ticked))
    heading = card.heading + sentence(": {names}", names=names) if ticked else card.heading
    if card.event is not None:
        heading += sentence(" ({name}, {of})", name=card.event.name, of=show_own(card.server))
    label = f"{answer.label} until {chosen.until}" if chosen.until else answer.label
    return OpeningAnswer(
        chosen.mark,
        f"{label.lower()} ({card.what.lower()}, {quote_name(card.server)})",
        label,
        heading,
        answer.opens,
        answer.spares,
    )


async def _undo(request: web.Request) -> web.StreamResponse:
    page, form = request.app[PAGE], await request.post()
    taken = page.taken.pop(str(form.get("decision", "")), None)
    if taken is None or taken.until <= monotonic() or taken.undo is None:
        raise NothingDoneError("It can no longer be taken back here.")
    if not await with_store(request, taken.undo):
        raise NothingDoneError("Something else has changed it since.")
    words = sentence("You took this back: {what}", what=taken.sentence)
    raise page.finish(DoneDecision(words))


async def _unlock(request: web.Request) -> web.StreamResponse:
    if (question := await ask_number(request, [UNLOCK])) is not None:
        return question
    request.app[PAGE].door.unlock(request[VISITOR])
    raise web.HTTPSeeOther("/")


async def _lock(request: web.Request) -> web.StreamResponse:
    request.app[PAGE].door.lock(request[VISITOR])
    raise web.HTTPSeeOther("/")
