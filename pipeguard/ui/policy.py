"""The policy that applies: the source of each setting, exceptions, and trials of changes."""

from hashlib import sha256

from aiohttp import web
from markupsafe import Markup

from pipeguard.config import effective_policy, policy_edit
from pipeguard.config.following import describe_following
from pipeguard.config.policy_file import PolicyScope, WrittenException, written_exceptions
from pipeguard.config.user_policy import own_policy_path
from pipeguard.doctor.policies import (
    PolicyReport,
    describe_policy,
    read_policies,
    word_setting,
)
from pipeguard.errors import PolicyError
from pipeguard.firewall.policy import Mode
from pipeguard.state import decisions, trials
from pipeguard.state.audit import decision_entry
from pipeguard.state.pins import Store
from pipeguard.state.timestamps import parse_moment, today
from pipeguard.ui.decisions import DoneDecision, NothingDoneError, change_policy
from pipeguard.ui.own_policy import read_policy
from pipeguard.ui.page import (
    PAGE,
    OpeningAnswer,
    Request,
    Response,
    ask_number,
    draw,
    read_form,
    with_store,
)
from pipeguard.ui.text import foreign, sentence

PATH = "/policy"
TRIAL_DAYS = 7
TRIAL = f"{TRIAL_DAYS}d"
SOURCES = {
    PolicyScope.USER: "your file",
    PolicyScope.PROJECT: "the project's file",
    PolicyScope.MACHINE: "the machine's policy",
    PolicyScope.ORGANISATION: "the organisation's policy",
    None: "the default",
}
OBSERVE = OpeningAnswer(
    "mode: observe",
    "write `mode: observe` into your policy",
    "Only observe",
    Markup("PipeGuard judges and records, and no rule stops anything"),
    opens="for each server, from its next start: everything that any rule would stop",
    spares="messages that break the protocol, and what isolation does not give a server",
    back=PATH,
)


async def _policy(request: Request) -> Response:
    shown = await with_store(request, _find)
    return await draw(request, "policy.html", "Policy", shown=shown, days=TRIAL_DAYS)


def _find(store: Store) -> dict[str, object]:
    """Collect the page's content; if files are invalid, only their errors."""
    path = own_policy_path()
    files = effective_policy.find_policies()
    try:
        report = read_policies(files)
    except PolicyError as error:
        return {"error": str(error)}
    other = Mode.ENFORCE if report.policy.mode is Mode.OBSERVE else Mode.OBSERVE
    following = describe_following()
    others = {each: file for each, file in report.files.items() if each is not PolicyScope.USER}
    forced = [SOURCES[each] for each, file in others.items() if file.mode is not None]
    return {
        "path": path,
        "error": "",
        "files": [each for each in files.values() if each],
        "settings": [
            (key.replace("_", " "), word_setting(key, value), SOURCES[report.find_source(key)])
            for key, value in describe_policy(report.policy).items()
        ],
        "notes": [(file, note) for file, notes in report.notes.items() for note in notes],
        "rows": _list_exceptions(store, path, report),
        "mode": report.policy.mode,
        "trial": trials.try_mode(store, other, parse_moment(TRIAL)),
        "forced_by": " and ".join(forced),
        "following": following.line if following else "",
    }


def _list_exceptions(store: Store, path: str, report: PolicyReport) -> list[dict[str, object]]:
    text = read_policy(path)
    written = written_exceptions(text or "", path, today())
    exempts = [each.exempt for each in written]
    uses = trials.find_uses(store, exempts, report.policy, path, parse_moment(TRIAL))
    parts = [
        [part for part in exempt.where._asdict().items() if part[1] not in (None, "", "*")]
        for exempt in exempts
    ]
    return [
        {"id": _make_id(each), "written": each, "parts": part, "use": use}
        for each, part, use in zip(written, parts, uses, strict=True)
    ]


def _make_id(written: WrittenException) -> str:
    fields = (written.position, written.exempt.where, written.exempt.why, written.until)
    return sha256(repr(fields).encode()).hexdigest()[:32]


async def _remove(request: Request) -> Response:
    page, wanted = request.app[PAGE], (await read_form(request))["exception"]

    def remove(_store: Store) -> DoneDecision:
        path = own_policy_path()
        written = written_exceptions(read_policy(path) or "", path, today())
        chosen = next((each for each in written if _make_id(each) == wanted), None)
        if chosen is None:
            raise NothingDoneError("The policy was changed after the page was drawn. Look again.")
        what = f"{chosen.exempt.where.rule} ({chosen.exempt.why})"
        text = policy_edit.without_exception(path, chosen.position, today())
        done = sentence("You removed the exception for {rule}.", rule=foreign(what, 200))
        note = f"{decisions.EXCEPTION}{path}: {what}"
        entry = decision_entry("revoke", note=note, by=page.by)
        decision = change_policy(path, text, chosen.exempt.where.server, entry, done)
        return decision._replace(undo=None)  # it would open something without the number

    raise page.finish(await with_store(request, remove), PATH)


async def _change_mode(request: Request) -> Response:
    page, chosen = request.app[PAGE], (await read_form(request))["mode"]
    if chosen not in {mode.value for mode in Mode}:
        raise web.HTTPBadRequest(reason="There is no such mode")
    mode = Mode(chosen)
    if mode is Mode.OBSERVE and (asked := await ask_number(request, [OBSERVE])) is not None:
        return asked

    def change(_store: Store) -> DoneDecision:
        path = own_policy_path()
        text = policy_edit.with_mode(path, mode, today())
        done = sentence(
            "Your policy says `mode: {mode}`, for each server from its next start on.",
            mode=mode.value,
        )
        action = "allow" if mode is Mode.OBSERVE else "revoke"
        note = f"mode: {mode.value}, in {path}"
        entry = decision_entry(action, note=note, by=page.by)
        decision = change_policy(path, text, "*", entry, done)
        return decision if action == "allow" else decision._replace(undo=None)  # as above

    raise page.finish(await with_store(request, change), PATH)


ROUTES = (
    web.get(PATH, _policy),
    web.post(f"{PATH}/remove", _remove),
    web.post(f"{PATH}/mode", _change_mode),
)
