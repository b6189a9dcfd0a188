"""Files that tests write."""

from pathlib import Path


def write_file(path: Path, text: str = "{}") -> Path:
    """Write a file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, newline="")
    return path


def write_program(path: Path, text: str = "#!/bin/sh\n") -> Path:
    """Write a program that everybody may start."""
    write_file(path, text).chmod(0o755)
    return path
