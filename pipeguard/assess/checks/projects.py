"""Files in a repository that start something for everybody who opens it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from pipeguard.assess.fetched import find_fetched
from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import Findings, read_checks
from pipeguard.clients.catalog import ConfigScope
from pipeguard.clients.entries import MAX_FILE_BYTES, ServerEntry
from pipeguard.clients.reading import decode
from pipeguard.config.directories import read
from pipeguard.errors import InputError

STARTS, APPROVES, SHELL = CHECKS = read_checks("projects")
_TEXT_OR_COMMENT = re.compile(r'"(?>(?>(?:[^"\\\n]++|\\.){1,500})*)"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_LETTER = re.compile(r"\\u00([2-7][0-9a-fA-F])")
_INTERPRETERS = re.compile(
    r"(?:python[\d.]*|node|tsx|ts-node|bun|deno|ruby|perl|php|java|sh|bash|zsh|dash|pwsh|make|"
    r"cargo|npm|yarn|pnpm|go|dotnet|uv)(?:\.exe|\.cmd)?\Z"
)
_SCRIPT = re.compile(r"(?:\./|\.\./|\$\{(?:workspaceFolder|CLAUDE_PROJECT_DIR)[^}]*\}|[\w@-]+/)")
_ENDINGS = (".py", ".js", ".mjs", ".cjs", ".ts", ".sh", ".rb", ".php", ".pl", ".ps1", ".jar")
# Settings that make a client not ask: the file, and the text in it.
_SETTINGS = (
    (".claude/settings.json", re.compile(r'"enableAllProjectMcpServers"\s*:\s*true')),
    (".claude/settings.json", re.compile(r'"enabledMcpjsonServers"\s*:\s*\[\s*"')),
    (".gemini/settings.json", re.compile(r'"trust"\s*:\s*true')),
    (".qwen/settings.json", re.compile(r'"trust"\s*:\s*true')),
    (".vscode/settings.json", re.compile(r'"chat\.tools\.(?:global\.)?autoApprove"\s*:\s*true')),
    (".vscode/tasks.json", re.compile(r'"runOn"\s*:\s*"folderOpen"')),
)
APPROVAL_KEYS = ("alwaysAllow", "autoApprove", "trust")


def look(target: AssessmentTarget) -> Findings:
    """Check entries of projects, and the settings next to them."""
    for server in target.servers:
        if server.scope is ConfigScope.PROJECT:
            yield from _of(target, server)
    roots = {target.root or target.machine.project, *(each.project for each in target.servers)}
    for root in sorted(filter(None, roots)):
        yield from _settings(root)


def _of(target: AssessmentTarget, server: ServerEntry) -> Findings:
    own = _own_code(server)
    if own:
        yield STARTS.at(server, f"It runs `{own}`, which comes with the repository.")
    for key in APPROVAL_KEYS:
        value = server.fields.get(key)
        if value is True or value == "true" or (isinstance(value, (list, tuple)) and value):
            message = f"`{key}` has its tools called without asking."
            yield APPROVES.at(server, message, key=key, line=target.line(server, key))
    if "crush" in target.client_ids(server):  # which expands commands
        for where, text in _texts(server):
            if "$(" in text or "`" in text:
                message = f"`{where}` contains a command that its client runs to read the file."
                yield SHELL.at(server, message, key=where, line=target.line(server, where))


def _own_code(server: ServerEntry) -> str:
    """Return the repository's file that it runs, or empty."""
    words = server.own_words
    if not words or find_fetched(words):
        return ""
    if words[0].startswith(("./", "../", "${workspaceFolder", "${CLAUDE_PROJECT_DIR")):
        return words[0]
    base = re.split(r"[\\/]", words[0])[-1].lower()
    if not _INTERPRETERS.match(base):
        return ""
    for word in words[1:]:
        if word.startswith(("-", "/")) or "=" in word:
            continue
        if word.endswith(_ENDINGS) or (_SCRIPT.match(word) and "." in word):
            return word
    return ""


def _texts(server: ServerEntry) -> Iterator[tuple[str, str]]:
    for index, word in enumerate(server.words):
        yield ("command" if index == 0 else f"args.{index - 1}"), word
    for name, value in (*server.env.items(), *server.headers.items()):
        yield f"env.{name}" if name in server.env else f"headers.{name}", value
    if server.url:
        yield "url", server.url


def _settings(root: Path) -> Findings:
    for name, pattern in _SETTINGS:
        path = root / name
        if not path.is_file():
            continue
        try:
            content, _ = read(str(path), MAX_FILE_BYTES, InputError)
        except InputError as error:
            yield APPROVES.at(
                path, f"Whether it makes the client not ask is unknown: {error}", key=name
            )
            continue
        text = _plain(decode(content))
        for match in pattern.finditer(text):
            what = json.dumps(match[0].split(":")[0].strip().strip('"')).strip('"')
            line = text.count("\n", 0, match.start()) + 1
            message = f"With `{what}`, calls run without a question."
            yield APPROVES.at(path, message, line=line, key=what)
            break


def _plain(text: str) -> str:
    """Strip JSON of comments and decode escaped letters, keeping the lines."""

    def without(match: re.Match[str]) -> str:
        if match[0].startswith('"'):
            return _LETTER.sub(lambda letter: chr(int(letter[1], 16)), match[0])
        return "\n" * match[0].count("\n")

    return _TEXT_OR_COMMENT.sub(without, text)
