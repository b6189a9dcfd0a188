"""Secrets in clients' files."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import monotonic
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from pipeguard.assess import cures, gateway_file
from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import Findings, read_checks
from pipeguard.auth.secrets import find_references
from pipeguard.clients import catalog, guarding, masking
from pipeguard.clients.entries import Config, ServerEntry
from pipeguard.detect.checks.credential_names import is_secret_setting
from pipeguard.detect.words import credentials
from pipeguard.firewall.finding import Severity
from pipeguard.firewall.policy import Policy
from pipeguard.state.tokens import PREFIX

CLEAR, UNREAD = CHECKS = read_checks("secrets")
_OF_GATEWAY = (
    "a gateway's token. Refer to a variable instead, if the client replaces those, or to "
    "`keyring:NAME` in an entry with `pipeguard wrap --bearer-env`"
)
_TOKEN = re.compile(rf"{PREFIX}[\w-]{{20,}}")
_KEY_BYTES = 32
_LEAST_CHARS = 8
_NAME_CHARS = 48  # of each half of a secret's name, which has a hundred
_RANDOM_CHARS = 12  # 62 bits of letters and digits in one case
_REFERENCE = re.compile(
    r"\$\{[^}]*\}|\$\([^)]*\)|\{\{.*?\}\}|\$[A-Za-z_]\w*|%[A-Za-z_]\w*%|<[^<>]*>|\[[^\[\]]*\]|"
    r"\A(?:op|vault|keyring|keychain|secret|env|file|doppler|bw|aws-sm|gcp-sm|ref\+\w+)://?.*|"
    r"\{env:[^}]*\}|\{file:[^}]*\}|\A\s*(?:(?:bearer|basic|token)\s+)?keyring:[\w.-]+\s*\Z",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"(?i)(?:your|my|the|some|insert|enter|put|add|replace|paste|change|todo|fixme|example|sample|"
    r"dummy|fake|placeholder|redacted)\b|.*(?:[-_ ]here|change-?_?me|example|placeholder|redacted)"
    r"|(?:your|my)[-_]|(.)\1*\Z|[x*.#-]+\Z|(?:test|demo|none|null|true|false|default|secret|"
    r"password|token|changeit)\Z"
)
_SCHEME = re.compile(rf"(?i)(?:{credentials.alternatives('SCHEMES')})\s+")
_OPTION = re.compile(r"--?([A-Za-z][\w-]*)(?:=(.+))?\Z", re.DOTALL)
_HEADER = re.compile(r"([A-Za-z][\w-]*):\s*(.+)\Z", re.DOTALL)


class _Value(NamedTuple):
    """A value in an entry.

    Attributes:
        span: its key in the entry's spans, as `env.TOKEN`.
        name: the name of the variable, header or option, if any.
        place: its position, in words; part of the finding's fingerprint.
    """

    span: str
    name: str
    value: str
    place: str


class SecretUse(NamedTuple):
    """An entry that refers to a stored secret.

    Attributes:
        place: its position in the entry, in words.
    """

    client: str
    server: str
    place: str
    file: Path


def find_uses(configs: Iterable[Config]) -> dict[str, list[SecretUse]]:
    """Find the entries that refer to each secret, by its name, including switched-off entries."""
    uses: dict[str, list[SecretUse]] = {}
    for server in (server for config in configs for server in config.servers):
        for name, value in _references(server):
            use = SecretUse(server.client, server.name, value.place, server.file)
            uses.setdefault(name, []).append(use)
    return uses


def _references(server: ServerEntry) -> Iterator[tuple[str, _Value]]:
    """Yield the stored secrets that an entry refers to, by name, and where."""
    for value in _values(server):
        is_argument = value.span.startswith("args.")
        is_resolved = is_argument or value.place.startswith(("The variable ", "The header "))
        if is_resolved:
            for name in find_references(value.value, is_argument=is_argument):
                yield name, value


def _unread(target: AssessmentTarget, server: ServerEntry) -> Findings:
    """Report references in an entry that PipeGuard neither starts nor calls."""
    if gateway_file.is_of_gateway(server) or guarding.runs_pipeguard(server.words):
        return
    for name, value in _references(server):
        yield UNREAD.at(
            server,
            f"{value.place} is `keyring:{name}`, and nothing replaces that.",
            line=target.line(server, value.span),
            key=value.place,
            fix=cures.setup_command(target, server),
        )


def look(target: AssessmentTarget) -> Findings:
    """Check every value of every entry, including switched-off entries."""
    for server in target.all_servers:
        yield from _unread(target, server)
        values = [value for value in _values(server) if _REFERENCE.sub("", value.value).strip()]
        certain = _certain(target, values)
        headers = server.guard.headers if server.guard else {}
        named = {variable: header for header, variable in headers.items()}  # as before the guard
        for index, value in enumerate(values):
            is_token = bool(_TOKEN.fullmatch(_bare(value.value)))
            is_sure = is_token or index in certain
            severity = Severity.HIGH if is_sure else _find_suspects(value)
            if severity is None:
                continue
            what = "a secret" if is_sure else "what looks like a secret"
            words = ("secrets", "set", _name_secret(server.name, named.get(value.name, value.name)))
            fix: tuple[str, ...] = ("pipeguard", *words)
            if is_token and server.scope is not catalog.ConfigScope.PROJECT:
                severity = Severity.LOW
                what = _OF_GATEWAY
                fix = fix if server.guard else ()
            yield CLEAR.at(
                server,
                f"{value.place} contains {what}.",
                line=target.line(server, value.span),
                key=value.place,
                fix=fix,
                severity=severity,
            )


def _values(server: ServerEntry) -> Iterator[_Value]:
    for name, value in server.env.items():
        yield _Value(f"env.{name}", name, value, f"The variable {name}")
    for name, value in server.headers.items():
        yield _Value(f"headers.{name}", name, value, f"The header {name}")
    if server.url:
        yield from _of_url("url", server.url, "The address")
    before = ""
    for index, word in enumerate(server.args):
        yield from _of_word(f"args.{index}", word, before)
        before = word


def _of_word(span: str, word: str, before: str) -> Iterator[_Value]:
    option = _OPTION.match(word)
    header = _HEADER.match(word)
    after = _OPTION.match(before)
    if "://" in word:
        yield from _of_url(span, word, "An address among the arguments")
    elif option and option[1] == "env" and "=" in (option[2] or ""):
        name, _, value = option[2].partition("=")
        yield _Value(span, name, value, f"The variable {name} among the arguments")
    elif option and option[2]:
        if not option[1].endswith("-env"):  # an option of ours that takes a name, not a value
            yield _Value(span, option[1], option[2], f"The argument --{option[1].lstrip('-')}")
    elif after and not after[2] and not word.startswith("-"):
        if after[1] in ("header", "H") and header:
            yield _Value(span, header[1], header[2], f"The header {header[1]} among the arguments")
        elif after[1] in ("e", "env") and "=" in word:
            name, _, value = word.partition("=")
            yield _Value(span, name, value, f"The variable {name} among the arguments")
        elif not after[1].endswith("env"):
            yield _Value(span, after[1], word, f"The argument after --{after[1]}")
    else:
        yield _Value(span, "", word, f"The argument {span.partition('.')[2]}")


def _of_url(span: str, url: str, place: str) -> Iterator[_Value]:
    try:
        parts = urlsplit(url)
        password = parts.password
        user = parts.username
    except ValueError:
        return
    if password:
        yield _Value(span, "password", password, f"{place}, its password,")
    elif user:
        yield _Value(span, "", user, f"{place}, its user,")
    for name, value in parse_qsl(parts.query):
        yield _Value(span, name, value, f"{place}, its parameter {name},")
    for part in parts.path.split("/"):
        yield _Value(span, "", part, f"{place}, its path,")


def _certain(target: AssessmentTarget, values: list[_Value]) -> set[int]:
    """The indexes of values that a rule finds."""
    if not values:
        return set()
    from pipeguard.rulebook.trial import TextRole, TrialInput, judge  # the detector, 4 MB

    arguments = {str(i): {value.name or "value": value.value} for i, value in enumerate(values)}
    text = TrialInput(json.dumps(arguments), TextRole.ARGUMENTS)
    trial = judge(target.engines, Policy(), text, os.urandom(_KEY_BYTES), monotonic())
    indexes = set()
    for located in trial.findings:
        match = re.match(r"/params/arguments/(\d+)", located.finding.pointer)
        if match and located.finding.rule.startswith("secrets."):
            indexes.add(int(match[1]))
    return {i for i in indexes if not _PLACEHOLDER.match(_bare(values[i].value))}


def _find_suspects(candidate: _Value) -> Severity | None:
    """Rate a value that no rule finds, by its name and its looks; None if it is harmless."""
    name = candidate.name
    value = _bare(candidate.value)
    if len(value) < _LEAST_CHARS or _PLACEHOLDER.match(value) or _REFERENCE.search(candidate.value):
        return None
    is_path = "://" in value or value.startswith(("/", "./", "~", "C:\\"))
    if is_path or not is_secret_setting(name):
        return None
    if re.fullmatch(r"[\d.,]+|[a-z]+(?:[-_.][a-z]+)*", value):
        return Severity.LOW if re.search("passw|pwd|secret", name, re.I) else None
    random = (
        len(value) >= _RANDOM_CHARS and re.search(r"\d", value) and re.search("[A-Za-z]", value)
    )
    return Severity.HIGH if random or masking.is_secret("", value) else Severity.MEDIUM


def _bare(value: str) -> str:
    return _SCHEME.sub("", value.strip(), count=1)


def _name_secret(server: str, name: str) -> str:
    """Name a secret in the keyring, with the server's name: two servers may have an API_KEY."""
    parts = (re.sub(r"[^A-Za-z0-9_-]+", "_", part).strip("_-") for part in (server, name))
    return ".".join(part[:_NAME_CHARS] for part in parts if part) or "TOKEN"
