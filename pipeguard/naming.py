"""A server's name from its command, where the user gives none: stable, short, readable.

Knows how servers are started in clients' configurations; runs nothing, and looks at no file.
"""

# pathlib costs 5 ms, and a server is waiting
# ruff: noqa: PTH100, PTH111
from __future__ import annotations

import os.path

TYPE_CHECKING = False  # as typing.TYPE_CHECKING, whose import costs 6 ms
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LONGEST = 50  # characters, without what tells equal names apart

_UV = (
    "--from --with --with-editable --with-requirements --python -p --index --default-index "
    "--index-url -i --extra-index-url --constraints -c --overrides --env-file --directory "
    "--project --cache-dir --config-file --extra --group --only-group --package"
)
_DOCKER = (
    "-e --env --env-file -v --volume --mount --name --network --net -p --publish -u --user -w "
    "--workdir -h --hostname --add-host -l --label --pull --platform --entrypoint -m --memory "
    "--cpus --gpus --device --cap-add --cap-drop --security-opt --tmpfs --ulimit --log-driver "
    "--log-opt --dns --ipc --pid --shm-size --restart --runtime --secret --context -H --config "
    "--volumes-from --expose --link --group-add --annotation --userns --stop-signal"
)
# Programs that start the server rather than being it, and their options that take a value which
# is not the server. Of `-jar`, `--bin`, `-File` and the like the value is the server.
_STARTERS = {
    "npx": "-p --package --registry -w --workspace --prefix",
    "bunx": "-p --package",
    "pnpx": "-p --package",
    "npm": "--prefix -C -w --workspace -p --package",
    "pnpm": "--dir -C --filter -F --package",
    "yarn": "--cwd -p --package",
    "bun": "--cwd",
    "deno": "-c --config --import-map",
    "node": "-r --require --import --loader --experimental-loader --env-file -C --conditions",
    "tsx": "--tsconfig",
    "ts-node": "-P --project",
    "uv": _UV,
    "uvx": _UV,
    "pipx": "--spec --python --pip-args --index-url -i",
    "python": "-W -X",
    "py": "-W -X",
    "mcp": "-t --transport --with -f --env-file -v --env-var",
    "fastmcp": "-t --transport --with --project --python --host --port -p",
    "docker": _DOCKER,
    "podman": _DOCKER,
    "java": "-cp -classpath --class-path -p --module-path",
    "dotnet": "-c --configuration -f --framework",
    "go": "",
    "cargo": "--manifest-path -p --package --features",
    "ruby": "-r -I -C",
    "php": "-d -c",
    "env": "-u --unset -C --chdir",
    "sudo": "-u --user -g --group",
    "timeout": "-s --signal -k --kill-after",
    "nice": "-n --adjustment",
    "nohup": "",
    "stdbuf": "-i -o -e",
    "cmd": "",
    "powershell": "-ExecutionPolicy -WorkingDirectory",
    "pwsh": "-ExecutionPolicy -WorkingDirectory",
    "sh": "",
    "bash": "",
    "dash": "",
    "zsh": "",
}
_PACKAGES = frozenset({"npx", "bunx", "pnpx", "npm", "pnpm", "yarn", "uvx", "pipx"})
_SHELLS = frozenset({"sh", "bash", "dash", "zsh"})
_VERBS = frozenset({"run", "exec", "dlx", "x", "tool", "/c", "/C"})
_MODULES = frozenset({"-m", "--module", "-um", "-Im", "-Em", "-Bm", "-sm"})
_PROGRAM_ENDINGS = frozenset({"exe", "cmd", "bat"})
_SCRIPT_ENDINGS = frozenset(
    {"py", "js", "mjs", "cjs", "ts", "mts", "tsx", "rb", "php", "sh", "ps1", "jar", "csproj"}
)
_ENDS_OF_A_NAME = "[=<>!~@;:"  # a version, an extra or a tag: PEP 508, npm, OCI


def server_name(command: Sequence[str]) -> str:
    """A name for a command, as `server-filesystem` for `npx -y @scope/server-filesystem /dir`.

    A script or program named by its path gets a few hex digits of that path, since `index.js`
    and `server.py` stand in many folders.
    """
    starter = ""
    words = iter(command)
    for word in words:
        program = _program(word)
        if program in _STARTERS:
            starter = program
            if starter == "timeout":
                _skip_options(words)
        elif not starter:
            return _named(word, starter)
        elif word in _MODULES and not _takes_value(starter, word):
            return _clean(next(words, word))
        elif starter in _SHELLS and word.startswith("-") and word.endswith("c"):
            return _of_script(next(words, "")) or _clean(starter)
        elif _takes_value(starter, word):
            next(words, None)
        elif not (word.startswith("-") or word in _VERBS or (starter == "env" and "=" in word)):
            return _named(word, starter)
    return _clean(starter or "server")


def _program(word: str) -> str:
    """The program that a word names: `python` for `/usr/bin/python3.12`, `npx` for `npx.cmd`."""
    base = _base(word)
    stem, dot, ending = base.rpartition(".")
    if dot and ending.lower() in _PROGRAM_ENDINGS:
        base = stem
    return "python" if base.rstrip("0123456789.") == "python" else base


def _takes_value(starter: str, word: str) -> bool:
    return word in _STARTERS[starter].split()


def _skip_options(words: Iterator[str]) -> None:
    """Up to and with the first word that is no option: how long `timeout` gives."""
    for word in words:
        if _takes_value("timeout", word):
            next(words, None)
        elif not word.startswith("-"):
            return


def _of_script(script: str) -> str:
    """The name of what a shell is told to run, which is the last of what is chained."""
    words = script.replace("&&", ";").split(";")[-1].split()
    return server_name([word.strip("'\"") for word in words if word != "exec"]) if words else ""


def _named(word: str, starter: str) -> str:
    if not _is_path(word, starter):
        return _clean(_package(word))
    path = word.replace("\\", "/")
    package = path.rpartition("node_modules/")[2]
    if package != path:
        return _clean(_package(package if package.startswith("@") else package.partition("/")[0]))
    stem = _stem(word)
    if path.split("/")[-2:-1] in (["bin"], ["Scripts"]):
        return _clean(stem)
    from pipeguard.core.digest import sha256

    whole = path if path[1:2] == ":" else os.path.abspath(os.path.expanduser(word))
    return f"{_clean(stem)}-{sha256(whole.encode('utf-8', 'surrogateescape')).hexdigest()[:6]}"


def _is_path(word: str, starter: str) -> bool:
    if word.startswith((".", "/", "~")) or word[1:2] == ":" or "\\" in word:
        return True
    if not starter:
        return "/" in word
    return starter not in _PACKAGES and _ending(word) in _SCRIPT_ENDINGS


def _package(word: str) -> str:
    """The bare name of a package, an image or a module, without where it is and which one."""
    for registry in ("npm:", "jsr:"):
        if word.startswith(registry):
            word = word.removeprefix(registry)
            if not word.startswith("@"):
                word = word.partition("/")[0]
    parts = word.split("/")
    name = parts[1] if word.startswith("@") and len(parts) > 1 else parts[-1]
    for character in _ENDS_OF_A_NAME:
        name = name.partition(character)[0] or name
    return name


def _base(word: str) -> str:
    return word.replace("\\", "/").rsplit("/", 1)[-1]


def _ending(word: str) -> str:
    return _base(word).rpartition(".")[2].lower()


def _stem(word: str) -> str:
    known = _ending(word) in _SCRIPT_ENDINGS | _PROGRAM_ENDINGS
    return _base(word).rpartition(".")[0] if known else _base(word)


def _clean(name: str) -> str:
    kept = "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip("-._")
    return kept[:LONGEST].rstrip("-._") or "server"
