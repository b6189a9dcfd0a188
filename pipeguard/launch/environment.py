"""The environment variables that a server gets. Starts nothing; shows no value to anybody.

The server gets these, the later overriding the earlier:

1. variables that programs need to run at all and that contain no secrets: `ALLOWED`; 2. variables
that the client set for it: the `env` block of its entry in the client's
   configuration, which is part of our environment, mixed with the client's own variables;
3. `--env NAME` and `--env NAME=VALUE`.

The second group is found as follows. The official SDKs pass a server half a dozen names and the
entry's `env`; other clients pass all they have and the entry's `env`. If the client runs in a
session (a terminal, a desktop) and our environment has no variable of that session, the client
chose our environment, so all of it is for the server. Otherwise the variables that differ from the
client's own environment are for the server. If that cannot be read (macOS, Windows, /proc with
hidepid), an environment without a session is passed whole; of any other, only groups 1 and 3.

In one case PipeGuard cannot tell: a client passes all it has, and an entry sets a variable to the
client's own value. Such a variable is withheld, and `--env NAME` passes it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

from pipeguard.errors import LaunchError
from pipeguard.records import NamedTuple

ALLOWED = {
    # The official SDKs pass these by default (modelcontextprotocol python-sdk,
    # mcp/client/stdio, DEFAULT_INHERITED_ENV_VARS; typescript-sdk the same).
    "HOME",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TERM",
    "USER",
    # Language, time and scratch space: without them text breaks and times are wrong.
    "LANG",
    "LANGUAGE",
    "TZ",
    "TZDIR",
    "TMPDIR",
    "TEMP",
    "TMP",
    "__CF_USER_TEXT_ENCODING",
    # Where files go; npx and uvx find their caches there. Not XDG_RUNTIME_DIR, which leads to
    # the session's sockets.
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
    "XDG_CONFIG_DIRS",
    "XDG_DATA_DIRS",
    # Paths of certificates, which are public: behind a company's proxy they are needed.
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    # Windows: variables that the SDKs pass there, and those needed to find and start programs.
    "APPDATA",
    "HOMEDRIVE",
    "HOMEPATH",
    "LOCALAPPDATA",
    "PROCESSOR_ARCHITECTURE",
    "PROGRAMFILES",
    "PROGRAMFILES(X86)",
    "PROGRAMW6432",
    "PROGRAMDATA",
    "ALLUSERSPROFILE",
    "COMMONPROGRAMFILES",
    "COMMONPROGRAMFILES(X86)",
    "NUMBER_OF_PROCESSORS",
    "OS",
    "SYSTEMDRIVE",
    "SYSTEMROOT",
    "WINDIR",
    "COMSPEC",
    "PATHEXT",
    "USERNAME",
    "USERPROFILE",
}
ALLOWED_PREFIX = "LC_"
# Allowed unless they contain a password, as http://user:password@host does.
PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}
# PipeGuard's own variables: one may contain a header with a token meant for PipeGuard only.
OURS_PREFIX = "PIPEGUARD_"
# Of the store that replicas share: they lead to its password.
STORE_VARIABLE = "PIPEGUARD_STORE"
OF_STORE = {"PGPASSWORD", "PGPASSFILE", "PGSERVICEFILE"}
# The prefix of a value that names a secret in the keyring (auth.secrets).
REFERENCE = "keyring:"
# Set by shells for themselves, so a difference means nothing.
BOOKKEEPING = {"_", "SHLVL", "PWD", "OLDPWD"}
# Set by a terminal, desktop, login, service manager or container, and never in an entry.
SESSION = BOOKKEEPING | {
    "XDG_SESSION_ID",
    "XDG_SESSION_TYPE",
    "XDG_SESSION_CLASS",
    "XDG_CURRENT_DESKTOP",
    "XDG_SEAT",
    "DESKTOP_SESSION",
    "DBUS_SESSION_BUS_ADDRESS",
    "WINDOWID",
    "SESSION_MANAGER",
    "TERM_PROGRAM",
    "TERM_SESSION_ID",
    "COLORTERM",
    "LS_COLORS",
    "VTE_VERSION",
    "TMUX",
    "STY",
    "SSH_CONNECTION",
    "SSH_CLIENT",
    "SSH_TTY",
    "WSL_DISTRO_NAME",
    "HOSTNAME",
    "MAIL",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "SYSTEMD_EXEC_PID",
    "XPC_SERVICE_NAME",
    "XPC_FLAGS",
    "__CFBundleIdentifier",
    "SECURITYSESSIONID",
    "SESSIONNAME",
    "LOGONSERVER",
    "COMPUTERNAME",
    "PSMODULEPATH",
    "PROMPT",
    "WT_SESSION",
}
# Programs between a client and us that are not the client.
STARTERS = {"uv", "uvx", "pipx", "env", "timeout", "nice", "nohup", "stdbuf"}
SHELLS = {"sh", "bash", "dash", "zsh", "fish", "ksh", "ash", "busybox"}
# Options of shells with a value in the next word; terminals start shells with some of them.
SHELL_VALUES = {"--rcfile", "--init-file", "--init-command", "-C", "-O", "-o"}
MOST_STARTERS = 4  # `sh -c`, `timeout`, `uvx`: three is the most that was seen


class Environment(NamedTuple):
    """The environment of a server.

    Attributes:
        variables: all its variables.
        missing: the names given to `--env` that our environment does not have.
    """

    variables: dict[str, str]
    missing: tuple[str, ...]

    def __repr__(self) -> str:
        """Show only names: values may be secrets."""
        return f"Environment({sorted(self.variables)})"


def child_environment(
    ours: Mapping[str, str],
    parent: Mapping[str, str] | None,
    *,
    extra: Sequence[str] = (),
    inherit_all: bool = False,
) -> Environment:
    """Decide which variables a server gets.

    Args:
        ours: our own environment.
        parent: the client's, or None if it cannot be read (`parent_environment`).
        extra: the values of `--env`: NAME or NAME=VALUE.
        inherit_all: pass all variables (`--inherit-env`).

    Raises:
        LaunchError: an `--env` has no name, or one of PipeGuard's own.
    """
    passes_all = inherit_all or _is_chosen(ours, parent)
    kept = OF_STORE if ours.get(STORE_VARIABLE) else ()
    variables = {
        name: value
        for name, value in ours.items()
        if name.upper() not in kept
        and (passes_all or _is_allowed(name, value) or _is_for_server(name, value, parent))
    }
    missing = []
    for entry in extra:
        name, equals, value = entry.partition("=")
        if not name or name.upper().startswith(OURS_PREFIX):
            # The value may be a secret, so it is not shown.
            raise LaunchError(f"--env {name}: give NAME or NAME=VALUE; not PIPEGUARD_*.", 2)
        if equals:
            variables[name] = value
        elif name in ours:
            variables[name] = ours[name]
        else:
            missing.append(name)
    for name in [name for name in variables if name.upper().startswith(OURS_PREFIX)]:
        del variables[name]
    return Environment(variables, tuple(missing))


def refers(values: Iterable[str]) -> bool:
    """True if a value may name a secret in the keyring, which is slow to open."""
    return any(REFERENCE in value.lower() for value in values)


def parent_environment() -> dict[str, str] | None:
    """The environment that the client itself was started with; None if it cannot be read.

    A starter between the client and us (`uvx`, `sh -c`, a script) is skipped, because it got the
    entry's variables as we did; variables that it exports itself were set for the server, too. A
    person at a shell is not a client with an entry, even if a script of theirs starts us: the
    result is our own environment, so that only `--env` adds to the allowed names.
    """
    process = os.getppid()
    for _ in range(MOST_STARTERS):
        words = _read_words(process, "cmdline")
        if not words:
            return None
        program = os.path.basename(words[0]).lstrip("-")
        if program in SHELLS and not _runs_a_command(words[1:]):
            return dict(os.environ)
        if program not in STARTERS | SHELLS:
            break
        process = find_parent(process)
    return read_variables(process) or None


def read_variables(process: int) -> dict[str, str] | None:
    """The variables with which a process was started; None if they cannot be read."""
    words = _read_words(process, "environ")
    if words is None:
        return None
    pairs = (word.partition("=") for word in words)
    return {name: value for name, _, value in pairs if name}


def _is_chosen(ours: Mapping[str, str], parent: Mapping[str, str] | None) -> bool:
    """True if the client selected the variables that it passed."""
    if any(name in SESSION for name in ours):
        return False
    return parent is None or any(name in SESSION for name in parent)


def _is_allowed(name: str, value: str) -> bool:
    if value.startswith("()"):
        return False  # a shell function is code; the SDKs leave it out as well
    if name.upper() in PROXIES:
        return "@" not in value
    return name in ALLOWED or name.startswith(ALLOWED_PREFIX)


def _is_for_server(name: str, value: str, parent: Mapping[str, str] | None) -> bool:
    if parent is None or name in BOOKKEEPING or value.startswith("()"):
        return False
    return parent.get(name) != value


def _runs_a_command(words: Sequence[str]) -> bool:
    """True if a shell's arguments make it run something: -c, -lc, or a script's name."""
    before = ""
    for word in words:
        is_option = word.startswith(("-", "+")) or before in SHELL_VALUES
        if not is_option or (word.startswith("-") and not word.startswith("--") and "c" in word):
            return True
        before = word
    return False


def _read_words(process: int, name: str) -> list[str] | None:
    """The NUL-ended strings of /proc/<process>/<name> (proc(5)), or None."""
    try:
        with open(f"/proc/{process}/{name}", "rb") as file:
            data = file.read()
    except OSError:
        return None
    return [os.fsdecode(word) for word in data.split(b"\0") if word]


def find_parent(process: int) -> int:
    """The parent of a process; 0 if /proc does not show it."""
    return int(read_status(process)[1][1])


def read_status(process: int) -> tuple[str, list[str]]:
    """A process's name, and the fields after it (proc(5), `stat`); zeros if it is gone."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return "", ["0"] * 7
    name, _, rest = text.partition("(")[2].rpartition(")")  # a name may contain any byte
    return name, rest.split()
