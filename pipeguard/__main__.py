"""Runs the command line; `wrap` takes a shorter way, so that the server starts at once."""

from __future__ import annotations

import os
import sys

from pipeguard import _isolate

TYPE_CHECKING = False  # as typing.TYPE_CHECKING, whose import costs 6 ms
if TYPE_CHECKING:
    import click


def main() -> None:
    """The entry point of the command `pipeguard`; ends the process."""
    _hold_standard_streams()
    _isolate.ensure()  # before anything but frozen modules is imported
    raise SystemExit(_run(sys.argv[1:]))


def _hold_standard_streams() -> None:
    """Open nothing in place of standard streams that were closed before we started.

    Whatever is opened next would get their numbers: a database that errors are written into, a
    socket that libuv refuses to close (it aborts). `open(2)` gives the lowest free number.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
            os.set_inheritable(number, True)  # noqa: FBT003  as the stream would have been


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

        return _called(cli, arguments)
    except PipeGuardError as error:
        return _tell(str(error), error.exit_code)
    except KeyboardInterrupt:  # while loading; a server that was started ends with us
        return _tell("aborted", 130)
    except Exception as error:  # noqa: BLE001  the one handler of the command line
        return _tell(_fault(error), 1)


def _called(cli: click.Group, arguments: list[str]) -> int:
    """Run a verb. What click raises has its own words and exit code."""
    import io

    import click

    _leave_out_current_folder()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal of few letters
    try:
        code = cli.main(arguments, prog_name="pipeguard", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort:
        return _tell("aborted", 130)
    return code if isinstance(code, int) else 0


def _leave_out_current_folder() -> None:
    """Look for no program in the folder that a person is in: it may just have been cloned.

    `wrap` starts its server as the client would, with the PATH that the client gave.
    """
    if (path := os.environ.get("PATH")) is not None:
        folders = filter(os.path.isabs, path.split(os.pathsep))
        os.environ["PATH"] = os.pathsep.join(folders)
    os.environ["NODEFAULTCURRENTDIRECTORYINEXEPATH"] = "1"  # Windows looks there first


def _fault(error: Exception) -> str:
    """A fault of our own, told by its place; its text may hold what it was about, as a secret."""
    from traceback import extract_tb

    frames = extract_tb(error.__traceback__)
    places = " < ".join(f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in frames[::-1])
    return f"a fault of PipeGuard's own: {type(error).__name__} in {places}\n  Please report it."


def _tell(message: str, code: int) -> int:
    from pipeguard.log import say

    say(message)
    return code


if __name__ == "__main__":
    main()
