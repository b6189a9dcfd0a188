"""The first page: the decisions that are pending, and the answers to them."""

import datetime
from contextlib import suppress
from time import monotonic

from aiohttp import web

from pipeguard.state.audit import find_loosened
from pipeguard.state.dismissals import clear_noted, find_noted, recall
from pipeguard.state.pins import Store
from pipeguard.state.timestamps import today
from pipeguard.ui import cards, headings
from pipeguard.ui.card import GROUPS, Card, ChosenAnswer
from pipeguard.ui.decisions import DoneDecision, NothingDoneError
from pipeguard.ui.event_cards import CallCard, StoppedCard, find_why
from pipeguard.ui.offers import list_offers
from pipeguard.ui.page import (
    PAGE,
    VISITOR,
    OpeningAnswer,
    Request,
    Response,
    ask_number,
    draw,
    read_form,
    with_store,
)
from pipeguard.ui.scans import Scans
from pipeguard.ui.servers import find_starts
from pipeguard.ui.text import draw_content, sentence, show_own
from pipeguard.unicode.display import quote_name

REASON_CHARS = 500
EXCEPTION_DAYS = datetime.timedelta(days=90)  # unless the person chooses another last day
UNLOCK = OpeningAnswer(
    "unlock",
    "unlock the page for 15 minutes",
    "Unlock",
    opens="every button of this page for 15 minutes, without the number",
)


async def _waiting(request: Request) -> Response:
    wanted, scans = request.query.get("all", ""), request.app[PAGE].scans
    waiting = await with_store(request, lambda store: _find_cards(store, wanted))
    drawn = waiting[: cards.MOST_CARDS]
    scans.want(each for card in drawn for each in card.definitions)
    groups = ((name, [card for card in drawn if card.group == name]) for name in GROUPS)
    return await draw(
        request,
        "waiting.html",
        f"Waiting ({len(waiting)})",
        groups=[group for group in groups if group[1]],
        waiting=waiting,
        more=len(waiting) - len(drawn),
        count=cards.describe_waiting(waiting),
        scans=scans,
        today=today(),
        last_day=today() + EXCEPTION_DAYS,
        noted=await with_store(request, find_noted),
        guarded=await with_store(request, Store.named_servers),
        loosened=await with_store(request, find_loosened),
        list_offers=list_offers,
        why=find_why,
        reason=headings.describe_reason,
        subject=headings.find_subject,
    )


def _find_cards(store: Store, in_full: str, wanted: str = "") -> list[Card]:
    """Find all cards, or a wanted one, as drawn: new servers with their starts, one in full."""
    found = cards.find_waiting(store, wanted)
    listed = [card for card in found if wanted in {"", card.id}]
    starts = find_starts(store) if any(isinstance(card, cards.NewCard) for card in listed) else {}
    for card in listed:
        card.is_whole = card.id == in_full
        if isinstance(card, cards.NewCard):
            card.starts = starts.get(card.server, ())
            card.bound = (*card.bound, *map(str, card.starts))
    return listed


async def _decide(request: Request) -> Response:
    page, form = request.app[PAGE], await read_form(request)
    ticked = sorted({*map(str, (await request.post()).getall("tick", []))})
    why = " ".join(form["why"].split())[:REASON_CHARS]
    name = request.match_info["card"]
    found = await with_store(request, lambda store: _find_cards(store, form["all"], name))
    card = found[0] if found else None
    answer = card.find_answer(form["answer"]) if card else None
    if card is None or answer is None:
        raise NothingDoneError("It no longer waits: it was decided elsewhere, or withdrawn.")
    if form["shown"] != card.digest:
        raise NothingDoneError("It changed after this card was drawn. Look at it again.")
    if answer.needs_reason and not why:
        raise NothingDoneError("Say why it is a false alarm: the policy keeps the reason.")
    until = _read_last_day(form["until"]) if answer.needs_reason else None
    chosen = ChosenAnswer(card, answer, page.by, why, tuple(ticked), until)
    if answer.opens:
        asked = [_opening(chosen, page.scans)]
        if (question := await ask_number(request, asked)) is not None:
            return question
    raise page.finish(await with_store(request, lambda store: cards.carry_out_all(store, [chosen])))


def _read_last_day(text: str) -> datetime.date:
    """Parse the last day of an exception from its form.

    Raises:
        NothingDoneError: it is not a date, or is in the past.
    """
    with suppress(ValueError):
        if (day := datetime.date.fromisoformat(text)) >= today():
            return day
    raise NothingDoneError("Choose the last day on which it is allowed: today, or a later one.")


async def _decide_several(request: Request) -> Response:
    """Refuse or allow all ticked cards of the list, as they were shown."""
    page, form = request.app[PAGE], await read_form(request)
    items = sorted({*map(str, (await request.post()).getall("item", []))})
    waiting = await with_store(request, lambda store: _find_cards(store, form["all"]))
    shown = {f"{card.id} {card.digest}": card for card in waiting[: cards.MOST_CARDS]}
    if not items:
        raise NothingDoneError("Nothing is ticked in the list.")
    if not shown.keys() >= set(items):
        raise NothingDoneError("One of them changed in the meantime, or was decided elsewhere.")
    listed = [shown[item] for item in items]
    decided = [ChosenAnswer(card, card.answers[0], page.by) for card in listed]
    if form["answer"] == "allow":
        decided = [each for card in listed if (each := card.choose_opening(page.scans, page.by))]
        left = [card.heading for card in listed if card not in [each.card for each in decided]]
        if not decided:
            raise NothingDoneError("None of these can be allowed from the list: use their cards.")
        asked = [_opening(each, page.scans) for each in decided]
        question = await ask_number(request, asked, left=left, is_list=True)
        if question is not None:
            return question
    raise page.finish(await with_store(request, lambda store: cards.carry_out_all(store, decided)))


def _opening(chosen: ChosenAnswer, scans: Scans) -> OpeningAnswer:
    """Convert an answer to a card to the form that the page for numbers shows, in full."""
    card, mark = chosen.card, chosen.mark
    card.is_whole = True  # there; the mark is of the card as it was
    answer = card.find_answer(chosen.answer.name) or chosen.answer
    offers = list_offers(card.definitions, scans)
    meant = [each for each in offers if len(offers) == 1 or each["key"] in chosen.ticked]
    heading = card.heading
    if card.event is not None:
        heading += sentence(" ({name}, {of})", name=card.event.name, of=show_own(card.server))
    named = quote_name(card.server)
    until = f" until {chosen.until}" if chosen.until else ""
    what = ", ".join(str(each["name"]) for each in meant) or card.heading.striptags()
    if isinstance(card, CallCard | StoppedCard) and card.evidence.arguments:
        what = f"{card.proof.event.tool}: {' '.join(card.evidence.telling)}"
    elif isinstance(card, cards.ProposalCard):
        what = card.proposal.definition
    return OpeningAnswer(
        mark,
        f"{answer.label.lower()}{until} ({card.what.lower()}, {named}, {quote_name(what)})",
        answer.button + until,
        heading,
        answer.opens,
        answer.spares,
        content=draw_content(card, meant),
    )


async def _undo(request: Request) -> Response:
    page, form = request.app[PAGE], await read_form(request)
    taken = page.taken.pop(form["decision"], None)
    if taken is None or taken.until <= monotonic() or taken.undo is None:
        raise NothingDoneError("It can no longer be taken back here.")
    if not await with_store(request, taken.undo):
        raise NothingDoneError("Something else has changed it since.")
    words = sentence("You took this back: {what}", what=taken.sentence)
    raise page.finish(DoneDecision(words))


async def _clear(request: Request) -> Response:
    """Clear the list of warnings as it was drawn: what was noted since stays."""
    page, until = request.app[PAGE], (await read_form(request))["until"]
    key = await with_store(request, lambda store: clear_noted(store, until, page.by))
    words = sentence("You cleared the list of warnings.")
    raise page.finish(DoneDecision(words, lambda store: recall(store, key)))


async def _unlock(request: Request) -> Response:
    if (question := await ask_number(request, [UNLOCK])) is not None:
        return question
    request.app[PAGE].door.unlock(request[VISITOR])
    raise web.HTTPSeeOther("/")


async def _lock(request: Request) -> Response:
    request[VISITOR].unlocked_until = 0.0
    raise web.HTTPSeeOther("/")


ROUTES = (
    web.get("/", _waiting),
    web.post("/decide/{card}", _decide),
    web.post("/several", _decide_several),
    web.post("/undo", _undo),
    web.post("/clear", _clear),
    web.post("/unlock", _unlock),
    web.post("/lock", _lock),
)
