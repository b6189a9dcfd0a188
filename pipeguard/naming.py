"""A server's name from its command, where the user gives none: stable, short, readable."""

from __future__ import annotations

import os.path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Programs that start the server rather than being it, and their words before it.
_STARTERS = frozenset(
    {
        *("npx", "bunx", "pnpx", "uvx", "pipx", "yarn", "pnpm", "npm", "bun", "uv", "deno"),
        *("node", "python", "python3", "py", "ruby", "php", "java", "dotnet", "go", "cargo"),
        *("docker", "podman", "env", "sh", "bash", "cmd", "powershell", "pwsh", "sudo", "timeout"),
    }
)
_WORDS = frozenset({"run", "exec", "dlx", "x", "tool", "--", "/c", "/C"})
# Options of the starters that take a value, which is not the server.
_VALUED = frozenset(
    {
        *("-p", "--package", "--from", "--with", "--python", "-e", "--env", "-v", "--volume"),
        *("--name", "--network", "--mount", "-w", "--workdir", "--directory", "--env-file"),
        *("-r", "--require", "-W", "-X", "--index", "--user", "--import", "--loader"),
    }
)


def server_name(command: Sequence[str]) -> str:
    """A name for a command, as `server-filesystem` for `npx -y @scope/server-filesystem /dir`.

    A script named by a path gets a few hex digits of that path, since `index.js` and `server.py`
    stand in many folders.
    """
    words = iter(command)
    for word in words:
        base = _bare(word)
        if word in _VALUED:
            next(words, None)
        elif word in ("-m", "--module"):
            return _clean(next(words, base))
        elif base in _STARTERS or word in _WORDS or word.startswith("-"):
            continue
        else:
            return _named(word)
    return _clean(_bare(command[0]))


def _named(word: str) -> str:
    path = os.path.normpath(word)
    is_path = word.startswith((".", "/", "~")) or os.path.isabs(word) or word[1:2] == ":"  # noqa: PTH117
    if not is_path:
        package = word.rsplit("/", 1)[-1]  # without the scope, as in @scope/package@1.2.3
        return _clean(package.partition("@")[0] or package)
    stem = _bare(word)
    if "node_modules" in path or os.path.basename(os.path.dirname(path)) == "bin":  # noqa: PTH119, PTH120
        return _clean(stem)
    from pipeguard.core.digest import sha256

    digest = sha256(os.path.abspath(path).encode()).hexdigest()[:6]  # noqa: PTH100
    return f"{_clean(stem)}-{digest}"


def _bare(word: str) -> str:
    base = word.replace("\\", "/").rsplit("/", 1)[-1]
    stem, dot, ending = base.rpartition(".")
    return (
        stem if dot and ending.lower() in ("exe", "cmd", "bat", "py", "js", "mjs", "ts") else base
    )


def _clean(name: str) -> str:
    kept = "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip("-.")
    return kept[:60] or "server"
