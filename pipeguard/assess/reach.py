"""The reach of a server by its tools or, if it was not connected to, by its name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pipeguard.assess.entry_extent import entry_extent
from pipeguard.assess.extent_report import CHANGES, OWN, REACHES, READS, extent_rows, list_named
from pipeguard.assess.isolation import entry_isolation
from pipeguard.assess.target import AssessmentTarget
from pipeguard.clients.entries import GuardState, ServerEntry
from pipeguard.clients.masking import command_line
from pipeguard.detect.flows.tool_labels import Label
from pipeguard.detect.words import word_set
from pipeguard.identity.server_name import identify_server
from pipeguard.isolation import ITS_PROGRAM, Isolation, ServerPreview
from pipeguard.unicode.display import visible

_SECRETS = Label.READS_SECRET
_PRIVATE = Label.READS_PRIVATE
_OUTSIDE = Label.TAKES_IN | Label.SENDS | Label.OUTSIDE
# Words in the names of servers, and what such servers do.
_WORDS: tuple[tuple[frozenset[str], Label], ...] = (
    (word_set("filesystem file files fs desktop folder"), _PRIVATE | Label.WRITES),
    (
        word_set("git repo repository code sqlite postgres postgresql mysql mongodb mongo redis"),
        _PRIVATE,
    ),
    (word_set("database db supabase snowflake bigquery clickhouse neo4j elasticsearch"), _PRIVATE),
    (word_set("github gitlab bitbucket jira linear notion confluence asana"), _PRIVATE | _OUTSIDE),
    (
        word_set("slack discord telegram teams gmail email mail outlook whatsapp"),
        _PRIVATE | _OUTSIDE,
    ),
    (word_set("drive gdrive dropbox sharepoint calendar crm salesforce hubspot"), _PRIVATE),
    (word_set("fetch http browser playwright puppeteer chrome selenium web crawl"), _OUTSIDE),
    (word_set("firecrawl scrape"), _OUTSIDE),
    (word_set("search brave tavily exa perplexity serpapi rss arxiv wikipedia"), Label.TAKES_IN),
    (word_set("shell terminal bash ssh exec commander command commands"), Label.RUNS),
    (word_set("kubernetes k8s docker terraform aws azure gcloud gcp"), Label.RUNS | _PRIVATE),
    (word_set("memory knowledge mem0"), Label.KEEPS),
    (word_set("stripe paypal"), Label.UNDOES),
    (word_set("vault 1password bitwarden secrets keychain"), _SECRETS),
)
# How labels are called in reports.
WORDS: tuple[tuple[Label, str], ...] = (
    (Label.READS_SECRET, "secrets"),
    (Label.READS_PRIVATE | Label.READS_PERSONAL, "private data"),
    (Label.TAKES_IN, "words of strangers"),
    (Label.OUTSIDE | Label.SENDS, "the outside"),
    (Label.WRITES, "your files"),
    (Label.RUNS, "commands"),
    (Label.KEEPS, "what later sessions read"),
    (Label.UNDOES, "what cannot be undone"),
)
NOTHING = "no file of yours, no host"  # what an isolated server touches that was given nothing


@dataclass(frozen=True, slots=True)
class Reached:
    """One server, who reaches it, and what it can touch.

    Attributes:
        server: its name.
        what: its command or address, secrets hidden.
        clients: the ids of the clients that read its entry.
        state: whether it is guarded.
        touches: in words.
        from_tools: whether its tools say so; otherwise its name suggests it.
        tools: the names of its tools, if it was connected to.
        isolated: whether what it can touch on this machine is enforced, and not its word alone.
        given: where it is isolated, all that it can touch, in words.
    """

    server: str
    what: str
    clients: tuple[str, ...]
    state: GuardState
    touches: tuple[str, ...]
    from_tools: bool
    tools: tuple[str, ...] = ()
    isolated: bool = False
    given: tuple[str, ...] = ()

    @property
    def condition(self) -> str:
        """True if it is guarded and isolated, in words."""
        return f"{self.state.value}{', isolated' * self.isolated}"

    @property
    def extent(self) -> str:
        """Describe what it can touch, and who says so."""
        if self.isolated:
            given = f"only {', '.join(self.given)}" if self.given else NOTHING
            return f"{given} (enforced)"
        says = "tools" if self.from_tools else "name"
        return f"{', '.join(self.touches) or 'nothing known'} (by its {says})"


def labels(target: AssessmentTarget, server: ServerEntry) -> tuple[Label, bool]:
    """Capabilities of a server's tools, declared or suggested by the server's name."""
    offered = target.find_definitions(server)
    if offered is not None and not offered.problem:
        return offered.labels, True
    address = (server.own_url or "").partition("://")[2]
    name = address or identify_server(server.own_words).name
    words = set(re.findall(r"[a-z0-9]+", f"{server.name} {name}".lower()))
    union = Label.NONE
    for names, label in _WORDS:
        if words & names:
            union |= label
    return union, False


def touches(union: Label) -> tuple[str, ...]:
    """The labels in words."""
    return tuple(words for label, words in WORDS if union & label)


def find_reach(target: AssessmentTarget) -> tuple[Reached, ...]:
    """Every server that a client would start or call."""
    rows = []
    for server in target.servers:
        union, from_tools = labels(target, server)
        offered = target.find_definitions(server)
        offers = offered.offers if offered is not None else ()
        enforced = given_in_words(target, server)
        rows.append(
            Reached(
                server.name,
                command_line(server),
                target.client_ids(server),
                target.is_judged(server).state,
                touches(union),
                from_tools,
                tuple(visible(offer.name) for offer in offers if offer.kind == "tool"),
                enforced is not None,
                enforced or (),
            )
        )
    return tuple(rows)


# --- enforcement ------------------------------------------------------------------------
# What isolation takes from a server for sure: enforced here, with this configuration and engine.

# What needs a network, and what needs a file of the user's or a network.
_OUT = Label.SENDS | Label.OUTSIDE
_IN = Label.READS_PRIVATE | Label.READS_PERSONAL | Label.READS_SECRET | Label.TAKES_IN | Label.RUNS


class Enforcement(NamedTuple):
    """Capabilities that isolation takes from one server.

    Attributes:
        taken: what it cannot do, whatever its tools say.
        why: in words, behind "it has"; empty where nothing is taken.
    """

    taken: Label = Label.NONE
    why: str = ""


def enforcement(target: AssessmentTarget, server: ServerEntry) -> Enforcement:
    """Find what isolation takes from a server; of a repository's nothing, where others decide."""
    touches = _enforce(target, server)
    if touches is None:
        return Enforcement()
    if touches.container is not None:  # what is mounted in it by its own words is not looked at
        return Enforcement() if touches.container.is_open else Enforcement(_OUT, "no network")
    if touches.extent is None or not touches.extent.is_offline:
        return Enforcement()
    if _sees_files(touches):
        return Enforcement(_OUT, "no network")
    return Enforcement(_OUT | _IN, "no network and no file of yours")


def _enforce(target: AssessmentTarget, server: ServerEntry) -> ServerPreview | None:
    """Find the reach of a server if that is enforced; None where it is not, or may not be."""
    is_here = target.machine.home.resolve() == Path.home().resolve()
    if target.is_repository or not is_here:
        return None
    isolation = entry_isolation(target, server)
    is_guarded = target.is_judged(server).state is GuardState.GUARDED
    if isolation is None or not isolation.is_held or not is_guarded:
        return None
    touches = entry_extent(server, isolation, target.machine)
    if touches.problem:
        return None
    engine = Isolation.CONTAINER if touches.container is not None else isolation.engine
    if touches.container is None and target.problem_with_engine(engine):
        return None
    return touches


def given_in_words(target: AssessmentTarget, server: ServerEntry) -> tuple[str, ...] | None:
    """All that a server can touch, in words, where it is isolated; None where it is not.

    Of this machine it is what the server would be given now; else what its entry and policy say.
    """
    isolation = entry_isolation(target, server)
    is_guarded = target.is_judged(server).state is GuardState.GUARDED
    if isolation is None or not isolation.is_held or not is_guarded:
        return None
    if not target.is_repository and target.problem_with_engine(isolation.engine):
        return None
    touches = _enforce(target, server)
    if touches is None or touches.extent is None:
        return isolation.given
    return tuple(_in_words(touches))


def _in_words(touches: ServerPreview) -> Iterator[str]:
    """List the grants, files first; without the installations of runtimes."""
    rows = extent_rows(touches)
    for label in (CHANGES, READS, OWN, REACHES):
        yield from (f"{what}{', to read' * (label == READS)}" for what in list_named(rows, label))


def _sees_files(touches: ServerPreview) -> bool:
    """True if a server sees anything of the user's beside its program's installation."""
    extent = touches.extent
    if extent is None:
        return True
    read = [each for each in extent.read if each.why != ITS_PROGRAM]
    kept = extent.kept_home or extent.roots or extent.unknown or extent.secrets
    return bool(extent.write or read or kept)
