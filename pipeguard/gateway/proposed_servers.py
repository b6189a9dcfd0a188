"""Servers that agents propose: the keys of their entries, and those that a person approved.

Reads entries as the file of servers is read, with the same errors. Starts nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from time import monotonic

from pipeguard.errors import InputError, PolicyError
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, serialise, walk_texts
from pipeguard.gateway.servers_file import ServerSettings, parse_server, runs_gateway
from pipeguard.log import say
from pipeguard.runtime.rate_limit import RateLimit
from pipeguard.state.proposals import MOST_BYTES, Proposal, proposals, propose, withdraw
from pipeguard.state.store import open_store

PROPOSE = "propose_server"
PER_MINUTE = 5  # proposals and removals of one token; a person reads each
# Without `trust`, `tools`, `tags` and `prefix`, which decide what agents see and how.
ENTRY_KEYS = ("command", "args", "env", "cwd", "url", "headers", "transport")
_SOURCE = "the proposed server"


def checked_entry(name: str, fields: Mapping[str, JsonValue]) -> str:
    """The entry of a proposed server as JSON.

    Args:
        name: of the server.
        fields: of the entry, as an agent gave them.

    Raises:
        PolicyError: naming all that is wrong, as for the file of servers.
        InputError: the entry is too large.
    """
    entry: JsonObject = {key: fields[key] for key in ENTRY_KEYS if key in fields}
    unknown = sorted(fields.keys() - set(ENTRY_KEYS))
    if unknown:
        allowed = ", ".join(ENTRY_KEYS)
        raise PolicyError(f"{_SOURCE} has an unknown key {unknown[0]!r}. Choose from {allowed}.")
    text = serialise(entry).decode()
    if len(text) > MOST_BYTES:  # before any of it is read
        raise InputError(f"a proposal has at most {MOST_BYTES} bytes.")
    for word in walk_texts(entry):
        if "${" in word or "keyring:" in word.lower():
            raise PolicyError(
                f"{_SOURCE} may use neither variables nor stored secrets (`${{…}}`, `keyring:`)."
                " Propose it without them; the user adds what it needs."
            )
    settings = _read_settings(name, text)
    if runs_gateway(settings.command):
        raise PolicyError(f"{_SOURCE} would start the gateway itself.")
    try:
        settings.parse_launch()
    except PolicyError as error:
        why = str(error).removeprefix("--upstream: ")
        raise PolicyError(f"{_SOURCE}: `url`: {why}") from None
    return text


def approved_servers(path: Path | None) -> tuple[list[ServerSettings], list[str]]:
    """The servers that a person approved, and why some are left out.

    Args:
        path: the store; None if there is none.

    Raises:
        StateError: the store cannot be read.
    """
    servers: list[ServerSettings] = []
    notes: list[str] = []
    for proposal in _approved_proposals(path):
        try:
            servers.append(_read_settings(proposal.name, proposal.definition))
        except PolicyError as error:
            notes.append(f"the proposed server {proposal.name} is left out: {error}")
    return servers, notes


def approved_fingerprints(path: Path | None) -> tuple[str, ...]:
    """The version of the proposals: it changes when a person approves or removes one.

    Raises:
        StateError: the store cannot be read.
    """
    return tuple(proposal.fingerprint for proposal in _approved_proposals(path))


def _approved_proposals(path: Path | None) -> list[Proposal]:
    if path is None:
        return []
    with open_store(path) as store:
        return [each for each in proposals(store) if not each.waits]


def _read_settings(name: str, definition: str) -> ServerSettings:
    settings = parse_server(definition, _SOURCE, name, {})
    if settings is None:
        raise PolicyError(f"{_SOURCE} is switched off.")
    return settings


class ServerManagement:
    """Changes that agents may make to the servers of a gateway; to be called in a thread.

    Args:
        store: the file of proposals.
        taken: returns names that no proposal may have.
        settings: the changes that the user allows now.
    """

    def __init__(
        self, store: str, taken: Callable[[], Iterable[str]], settings: frozenset[str]
    ) -> None:
        self.settings = settings
        self._store = store
        self._taken = taken
        self._limits: dict[str, RateLimit] = {}  # by the names of tokens

    def seconds_to_wait(self, who: str) -> float:
        """Count a change by a token; if there were too many, return the wait instead."""
        limit = self._limits.setdefault(who, RateLimit(PER_MINUTE))
        return limit.seconds_to_wait(monotonic())

    def propose(self, who: str, arguments: JsonObject) -> str:
        """Store a proposal of a token; return the answer to the agent.

        Raises:
            PipeGuardError: it is refused.
        """
        fields = {**arguments}
        name, reason = fields.pop("name", None), fields.pop("reason", None)
        if type(name) is not str or type(reason) is not str or not reason.strip():
            raise InputError(f"{PROPOSE} needs a name and a reason, which the user reads.")
        if name.casefold() in map(str.casefold, list(self._taken())):
            raise InputError(
                f"a server named {name} exists already, and agents cannot change servers."
            )
        entry = checked_entry(name, fields)
        with open_store(self._store) as opened:
            propose(opened, name, entry, who, reason)
        say(f"an agent proposes the server {name}: pipeguard servers show {name}")
        return (
            f"The server {name} is proposed. It is started once the user approves it, and its tools"
            " are found once the user has read them: tell the user that it waits."
        )

    def remove(self, who: str, arguments: JsonObject) -> str:
        """Withdraw a proposal of a token; return the answer to the agent.

        Raises:
            PipeGuardError: it is refused.
        """
        given = arguments.get("name")
        name = given if isinstance(given, str) else ""
        with open_store(self._store) as opened:
            withdraw(opened, name, who)
        return f"The proposal of {name} is withdrawn."

    def list_proposals(self, who: str) -> list[str]:
        """A line for each proposal of a token that a person has not approved."""
        with open_store(self._store) as opened:
            return [
                f"{each.name}: you proposed it, and it waits for the user"
                for each in proposals(opened)
                if each.proposed_by == who and each.waits
            ]
