"""Compiles rules as a program that outlives the process that started it.

The program leaves the tree of processes that it was started in, before it imports anything: clients
end a server that takes long to start with all of its children, and the next start would be no
faster.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Compile the packs on standard input, for the folder, key and reader in the arguments.

    The reader is the id of the only process that reads the folder, or 0: without it, the folder is
    of no use and is removed.
    """
    if hasattr(os, "fork") and os.fork():
        os._exit(0)  # the child has init for its parent
    from pipeguard.rulebook import compiler

    folder, key, reader = sys.argv[1], bytes.fromhex(sys.argv[2]), int(sys.argv[3])
    try:
        compiler.compile_rules(compiler.decode(sys.stdin.buffer.read()), folder, key)
    finally:
        if reader and os.name == "posix" and not _is_running(reader):
            from shutil import rmtree

            rmtree(folder, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)
    return True


if __name__ == "__main__":
    main()
