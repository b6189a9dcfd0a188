"""What a server can touch: as its tools tell, or where it was not asked, as its name suggests."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeguard.assess.target import AssessmentTarget
from pipeguard.clients.entries import GuardState, ServerEntry
from pipeguard.clients.showing import command_line
from pipeguard.core.flows.tool_labels import Label
from pipeguard.core.unicode.display import visible
from pipeguard.core.words.notation import word_set
from pipeguard.identity.server_name import server_name

_SECRETS = Label.READS_SECRET
_PRIVATE = Label.READS_PRIVATE
_ASKED = Label.TAKES_IN | Label.SENDS | Label.OUTSIDE
# Words in names of servers, and what servers so called do.
_WORDS: tuple[tuple[frozenset[str], Label], ...] = (
    (word_set("filesystem file files fs desktop folder"), _PRIVATE | Label.WRITES),
    (
        word_set("git repo repository code sqlite postgres postgresql mysql mongodb mongo redis"),
        _PRIVATE,
    ),
    (word_set("database db supabase snowflake bigquery clickhouse neo4j elasticsearch"), _PRIVATE),
    (word_set("github gitlab bitbucket jira linear notion confluence asana"), _PRIVATE | _ASKED),
    (word_set("slack discord telegram teams gmail email mail outlook whatsapp"), _PRIVATE | _ASKED),
    (word_set("drive gdrive dropbox sharepoint calendar crm salesforce hubspot"), _PRIVATE),
    (word_set("fetch http browser playwright puppeteer chrome selenium web crawl"), _ASKED),
    (word_set("firecrawl scrape"), _ASKED),
    (word_set("search brave tavily exa perplexity serpapi rss arxiv wikipedia"), Label.TAKES_IN),
    (word_set("shell terminal bash ssh exec commander command commands"), Label.RUNS),
    (word_set("kubernetes k8s docker terraform aws azure gcloud gcp"), Label.RUNS | _PRIVATE),
    (word_set("memory knowledge mem0"), Label.KEEPS),
    (word_set("stripe paypal"), Label.UNDOES),
    (word_set("vault 1password bitwarden secrets keychain"), _SECRETS),
)
# What a person is told of it.
TOLD: tuple[tuple[Label, str], ...] = (
    (Label.READS_SECRET, "secrets"),
    (Label.READS_PRIVATE | Label.READS_PERSONAL, "private data"),
    (Label.TAKES_IN, "words of strangers"),
    (Label.OUTSIDE | Label.SENDS, "the outside"),
    (Label.WRITES, "your files"),
    (Label.RUNS, "commands"),
    (Label.KEEPS, "what later sessions read"),
    (Label.UNDOES, "what cannot be undone"),
)


@dataclass(frozen=True, slots=True)
class Reached:
    """One server, who reaches it, and what it can touch.

    Attributes:
        server: its name.
        what: its command or address, secrets hidden.
        clients: ids of those that read its entry.
        state: whether it is guarded.
        touches: in words.
        asked: True where its tools say so; False where its name suggests it.
        tools: the names of its tools, of one that was asked.
    """

    server: str
    what: str
    clients: tuple[str, ...]
    state: GuardState
    touches: tuple[str, ...]
    asked: bool
    tools: tuple[str, ...] = ()


def labels(subject: AssessmentTarget, server: ServerEntry) -> tuple[Label, bool]:
    """What a server's tools do, and whether they were asked."""
    offered = subject.offered(server)
    if offered is not None and not offered.problem:
        return offered.labels, True
    address = (server.own_url or "").partition("://")[2]
    named = address or server_name(server.own_words)
    words = set(re.findall(r"[a-z0-9]+", f"{server.name} {named}".lower()))
    found = Label.NONE
    for names, label in _WORDS:
        if words & names:
            found |= label
    return found, False


def touches(found: Label) -> tuple[str, ...]:
    """What that is, in words."""
    return tuple(words for label, words in TOLD if found & label)


def reached(subject: AssessmentTarget) -> tuple[Reached, ...]:
    """Every server that a client would start or call."""
    rows = []
    for server in subject.servers:
        found, asked = labels(subject, server)
        offered = subject.offered(server)
        offers = offered.offers if offered is not None else ()
        rows.append(
            Reached(
                server.name,
                command_line(server),
                subject.clients_of(server),
                subject.judged(server).state,
                touches(found),
                asked,
                tuple(visible(one.name) for one in offers if one.kind == "tool"),
            )
        )
    return tuple(rows)
