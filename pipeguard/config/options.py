"""The options of `wrap`, read in a millisecond so that the server starts at once.

One table describes them; the help and completion of the command line are made from it (cli.wrap).
The reader here accepts plain spellings only, and leaves everything else, such as errors and
`--help`, to the full parser.
"""

from collections.abc import Mapping, Sequence

# Name, metavar (empty for a flag), "+" if it may be repeated, help; {transports} becomes the names
# of runtime.transports.
TABLE: tuple[tuple[str, str, str, str], ...] = (
    ("--name", "NAME", "", "Store pins and audit under NAME (default: derived from the command)."),
    ("--env", "NAME[=VALUE]", "+", "Pass this variable to the server; VALUE may be keyring:NAME."),
    ("--inherit-env", "", "", "Pass all environment variables to the server."),
    ("--cwd", "DIR", "", "Start the server in DIR."),
    ("--isolate", "HOW", "", "Isolate it: auto, bubblewrap, container, none; or learn."),
    ("--tag", "TAG", "+", "With isolation: the policy's entries for this tag apply, too."),
    ("--read", "PATH", "+", "With isolation: it may read this file or folder."),
    ("--write", "PATH", "+", "With isolation: it may read and change this file or folder."),
    ("--roots", "HOW", "", "With isolation: it may read, or write, the client's roots."),
    ("--connect", "HOST[:PORT]", "+", "With isolation: it may connect to this host."),
    ("--loopback", "PORT", "+", "With isolation: it may connect to this port of this machine."),
    ("--limit", "NAME=VALUE", "+", "With isolation: a limit, as memory=2GiB or processes=200."),
    ("--keep-home", "", "", "With isolation: keep what it writes in its home for the next run."),
    ("--policy", "FILE", "", "Use this policy instead of the user's own."),
    ("--trust", "HOW", "", "first-use pins clean definitions; review holds all until approved."),
    ("--observe", "", "", "Judge and record; no rule stops anything."),
    ("--log-level", "LEVEL", "", "debug, info, warning (default), error or off."),
    ("--log-format", "FORMAT", "", "console (default) or json."),
    ("--grace", "SECONDS", "", "How long a server may take to exit before it is terminated (2)."),
    ("--no-audit", "", "", "Write no audit of this run; pins are stored anyway."),
    ("--record", "DIR", "", "Record the sessions in DIR, without their secrets."),
    ("--upstream", "URL", "", "Guard the server at URL instead of starting one."),
    ("--transport", "HOW", "", "The transport to URL: {transports}."),
    ("--header", "'NAME: VALUE'", "+", "Send this header to the server at URL."),
    ("--header-env", "NAME=VARIABLE", "+", "Like --header, with the value of a variable."),
    ("--bearer-env", "VARIABLE", "", "Send this variable to the server as a bearer token."),
    ("--secret-arguments", "", "", "Accept secrets in --header, where other users can read them."),
    ("--ca", "FILE", "", "Trust this certificate authority for URL instead of the system's."),
    ("--client-cert", "FILE", "", "Present this certificate (PEM) to the server at URL."),
    ("--client-key", "FILE", "", "The certificate's key, if it is in a separate file."),
    ("--listen", "HOST:PORT", "", "Answer clients over HTTP at this address, not over stdio."),
    ("--shared", "", "", "With --listen: share one server process among all sessions."),
    ("--token-env", "[NAME=]VARIABLE", "+", "Clients must send the bearer token in this variable."),
    (
        "--token-file",
        "FILE",
        "",
        "Like --token-env, from a file with lines NAME TOKEN; reread when it changes.",
    ),
    ("--allow-host", "HOST", "+", "An additional host name that clients may use for this address."),
    ("--allow-origin", "ORIGIN", "+", "A web origin whose pages may connect."),
    ("--max-sessions", "N", "", "Maximum number of open sessions (1000)."),
    ("--idle-timeout", "SECONDS", "", "End a session after this many idle seconds (1800)."),
    ("--tls-cert", "FILE", "", "Listen with TLS, with this certificate (PEM)."),
    ("--tls-key", "FILE", "", "Its key, if that is in a file of its own."),
)

_LISTENING = frozenset(
    {
        *("--shared", "--token-env", "--token-file", "--allow-host", "--allow-origin"),
        *("--max-sessions", "--idle-timeout", "--tls-cert", "--tls-key", "--drain"),
    }
)
_REMOTE_SERVER = frozenset(
    {
        *("--transport", "--header", "--header-env", "--bearer-env", "--secret-arguments"),
        *("--ca", "--client-cert", "--client-key"),
    }
)
_STARTED_SERVER = frozenset({"--env", "--inherit-env", "--cwd", "--isolate", "--tag"})
ISOLATED = frozenset(
    {"--read", "--write", "--roots", "--connect", "--loopback", "--limit", "--keep-home"}
)
# Without a value, as of a variable that is not set, they give more, or hold or take down less, than
# is meant.
NEVER_EMPTY = ISOLATED | {"--isolate", "--record"}


class WrapOptions:
    """The options given to `wrap`, their values still as text, and the server's command."""

    def __init__(
        self,
        command: Sequence[str] = (),
        values: Mapping[str, str] = {},
        lists: Mapping[str, Sequence[str]] = {},
        flags: Sequence[str] = (),
    ) -> None:
        self.command = tuple(command)
        self.values = dict(values)
        self.lists = {name: tuple(items) for name, items in lists.items()}
        self.flags = frozenset(flags)

    def isolation(self) -> frozenset[str]:
        """The options given that grant or limit something for an isolated server."""
        return (self.flags | self.values.keys() | self.lists.keys()) & ISOLATED

    def find_misplaced(self) -> str | None:
        """Why an option would have no effect; None if each has one.

        A user who gives `--token-env` believes that clients need a token.
        """
        given = self.flags | self.values.keys() | self.lists.keys()
        for names, is_met, need in (
            (_LISTENING, "--listen" in given, "it needs --listen HOST:PORT"),
            (_REMOTE_SERVER, "--upstream" in given, "it needs --upstream URL"),
            (_STARTED_SERVER, bool(self.command), "it needs a server's command after --"),
            (ISOLATED, bool(self.command), "it needs a server's command after --"),
        ):
            if not is_met and (useless := given & names):
                return f"{min(useless)} would have no effect: {need}. Leave it out, or add that."
        return None


def read(arguments: Sequence[str]) -> WrapOptions | None:
    """Read `[OPTIONS] -- COMMAND`, or only options if one of them is the server's address.

    Returns:
        None if only the full parser can read them.
    """
    kinds = {name: (metavar, many) for name, metavar, many, _ in TABLE}
    values: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    flags: list[str] = []
    position = 0
    while position < len(arguments) and arguments[position] != "--":
        name, given, value = arguments[position].partition("=")
        if name not in kinds:
            return None
        metavar, many = kinds[name]
        position += 1
        if not metavar:
            if given:
                return None
            flags.append(name)
            continue
        if not given:
            if position >= len(arguments) or arguments[position].startswith("-"):
                return None
            value = arguments[position]
            position += 1
        if not value and name in NEVER_EMPTY:
            return None
        if many:
            lists.setdefault(name, []).append(value)
        else:
            values[name] = value
    command = arguments[position + 1 :]
    if bool(command) == ("--upstream" in values):
        return None
    return WrapOptions(command, values, lists, flags)
