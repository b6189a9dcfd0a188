"""Runs the command line. `wrap` bypasses click, so that the server starts without delay."""

from __future__ import annotations

import os
import sys

from pipeguard import _isolate

TYPE_CHECKING = False  # as typing.TYPE_CHECKING: only frozen modules may be imported here
if TYPE_CHECKING:
    import signal

    import click
else:
    import _signal as signal  # built in, unlike its Python half

INTERRUPTED = 130  # as shells have it


def main() -> None:
    """The entry point of the command `pipeguard`; ends the process."""
    if sys.argv[1:2] == ["wrap"]:
        _end_on_signals()
    _hold_standard_streams()
    _isolate.ensure()  # before anything but frozen modules is imported
    try:
        code = _run(sys.argv[1:])
    except KeyboardInterrupt:  # while a first one, or an error, was being told
        code = INTERRUPTED
    raise SystemExit(code)


def _end_on_signals() -> None:
    """End at once on a signal, until the server's run handles it, even if it was ignored."""
    signal.signal(signal.SIGINT, _end_at_once)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)


def _end_at_once(number: int, frame: object) -> None:
    """End this process wherever it is; the server's warden notices, and ends the server.

    Python loses a KeyboardInterrupt that it raises in a callback of the import system, so nothing
    ends. One that passes through `eval`, as for a named tuple, is handled and still ends the
    process by the signal.
    """
    os._exit(INTERRUPTED)


def _hold_standard_streams() -> None:
    """Open the null device for each closed standard stream.

    `open(2)` returns the lowest free number. So the next file that we open would become a standard
    stream: a database that error messages are written into, or a socket that libuv refuses to close
    (it aborts).
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
            os.set_inheritable(number, True)  # noqa: FBT003  as standard streams are


def _run(arguments: list[str]) -> int:
    from pipeguard.errors import PipeGuardError

    try:
        if arguments[:1] == ["wrap"]:
            from pipeguard.config import options

            read = options.read(arguments[1:])
            if read is not None:
                from pipeguard.runtime.start import run

                return run(read)
        from pipeguard.cli import cli

        return _run_click(cli, arguments)
    except PipeGuardError as error:
        return _tell(error.for_user(), error.exit_code)
    except KeyboardInterrupt:
        return _tell("aborted", INTERRUPTED)
    except Exception as error:  # noqa: BLE001  the one handler of the command line
        return _tell(_describe_fault(error), 1)


def _run_click(cli: click.Group, arguments: list[str]) -> int:
    """Run a command; report click's errors as our own."""
    import io

    import click

    _leave_out_current_folder()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # the terminal may not have the letter
    try:
        code = cli.main(arguments, prog_name="pipeguard", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        return _tell(_describe_misuse(error), error.exit_code)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort:
        return _tell("aborted", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _describe_misuse(error: click.ClickException) -> str:
    """Rewrite a message of click in our style; add the usage only if the command line is wrong."""
    import click

    text = error.format_message()
    if text[1:2].islower():
        text = text[0].lower() + text[1:]
    if not isinstance(error, click.UsageError) or error.ctx is None:
        return text
    return f"{text}\n{error.ctx.get_usage()}\nHelp:  {error.ctx.command_path} --help"


def _leave_out_current_folder() -> None:
    """Never run a program from the current folder, which may be a repository just cloned.

    Not for `wrap`, which starts its server as the client would, with the client's PATH.
    """
    if (path := os.environ.get("PATH")) is not None:
        folders = filter(os.path.isabs, path.split(os.pathsep))
        os.environ["PATH"] = os.pathsep.join(folders)
    os.environ["NODEFAULTCURRENTDIRECTORYINEXEPATH"] = "1"  # Windows looks there first


def _describe_fault(error: Exception) -> str:
    """Describe an internal error's place, without its text, which may contain a secret."""
    from traceback import extract_tb

    if isinstance(error, ImportError):
        missing = f"the module {error.name}" if error.name else "a module"
        return (
            f"{missing} could not be loaded: PipeGuard was updated while this ran, or is not"
            " installed completely. Run it again; if it fails again, reinstall PipeGuard."
        )
    frames = extract_tb(error.__traceback__)
    places = " < ".join(f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in frames[::-1])
    return f"internal error: {type(error).__name__} in {places}\n  Please report it."


def _tell(message: str, code: int) -> int:
    from pipeguard.log import say

    say(message, "error")
    return code


if __name__ == "__main__":
    main()
