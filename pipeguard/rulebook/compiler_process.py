"""Compiles rules as a program that outlives the process that started it.

The program leaves the tree of processes that it was started in, before it imports anything: clients
end a server that takes long to start with all of its children, and the next start would be no
faster.
"""

import json
import os
import sys


def main() -> None:
    """Compile the packs on standard input, for the folder and key in the arguments."""
    if hasattr(os, "fork") and os.fork():
        os._exit(0)  # the child has init for its parent
    from pipeguard.rulebook.compiled_file import file_name, put
    from pipeguard.rulebook.compiler import compile_rules
    from pipeguard.rulebook.packs import PackFile

    folder, key = sys.argv[1], bytes.fromhex(sys.argv[2])
    packs = [
        PackFile(path, content.encode("latin-1"), shipped)
        for path, content, shipped in json.load(sys.stdin)
    ]
    put(folder, file_name(key), compile_rules(packs, folder, key))


if __name__ == "__main__":
    main()
