"""Programs that distributions keep out of PATH."""

import os
import shutil
from pathlib import Path

# Of Debian's PostgreSQL, by its version, and of servers that root starts.
FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/sbin")


def find_program(name: str) -> str | None:
    """Where a program is; None if it is not installed."""
    found = [str(path) for each in FOLDERS for path in sorted(Path("/").glob(each[1:]))[::-1]]
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *found]))
