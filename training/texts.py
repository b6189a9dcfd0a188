"""The texts that classifiers learn from: an archive, its checksum, and a sample for tests.

A text is a line of a file of JSON lines (README.md says what a line contains). The more than a
thousand files are members of one archive, which is not in the tree: README.md says where it is. To
edit texts, unpack them into a folder that git ignores and that is read instead of the archive; then
pack it.
"""

from __future__ import annotations

import json
import lzma
import re
import tarfile
from collections.abc import Iterator, Mapping
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import click

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "texts"
ARCHIVE = HERE / "texts.tar.xz"
CHECKSUM = HERE / "texts.sha256"  # as sha256sum writes it
SAMPLE = HERE / "sample.jsonl"  # each line names its file
LATER = HERE / "later.jsonl"  # likewise: texts that the archive does not contain yet
MOST_SAMPLED = 200  # lines
SHARED_WORDS = 7  # as many in a row seldom recur by chance
COPIED_SHARE = 0.45  # of a text's words, from which on it counts as a copy
WORD = re.compile(r"[^\W_]+")


class ArchiveError(click.ClickException):
    """The archive is missing, or does not match its checksum."""


def is_whole() -> bool:
    """True if there is more than the sample."""
    return FOLDER.is_dir() or ARCHIVE.is_file()


def files() -> dict[str, bytes]:
    """The files by their names, in order: of the folder, or else of the archive.

    Raises:
        ArchiveError: the archive is missing, or does not match its checksum.
    """
    if FOLDER.is_dir():
        return {path.name: path.read_bytes() for path in sorted(FOLDER.glob("*.jsonl"))}
    if not ARCHIVE.is_file():
        raise ArchiveError(f"{ARCHIVE} is missing: training/README.md says how to fetch it")
    packed = ARCHIVE.read_bytes()
    if checksum(packed) != CHECKSUM.read_text("ascii"):
        raise ArchiveError(f"{ARCHIVE.name} does not match {CHECKSUM.name}: fetch it again")
    contents = {}
    with tarfile.open(fileobj=BytesIO(packed), mode="r:xz") as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is not None:
                contents[member.name] = content.read()
    return dict(sorted((contents | _listed(LATER)).items()))


def checksum(packed: bytes) -> str:
    """The line of `sha256sum` for an archive."""
    return f"{sha256(packed).hexdigest()}  {ARCHIVE.name}\n"


def archived(contents: Mapping[str, bytes]) -> bytes:
    """The archive: the same bytes for the same files, with those of one language side by side."""
    buffer = BytesIO()
    with (
        lzma.open(buffer, "wb", preset=9 | lzma.PRESET_EXTREME) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name in sorted(contents, key=lambda name: (name.split("-")[1], name)):
            member = tarfile.TarInfo(name)
            member.size = len(contents[name])
            archive.addfile(member, BytesIO(contents[name]))
    return buffer.getvalue()


def sample(contents: Mapping[str, bytes]) -> str:
    """Some lines of every kind and language: the shortest of the first file of each."""
    first: dict[str, str] = {}
    for name in sorted(contents):
        first.setdefault(name.rpartition("-")[0], name)
    share, rest = divmod(MOST_SAMPLED, len(first))
    rows = []
    for number, name in enumerate(first.values()):
        lines = sorted(contents[name].decode("utf-8").splitlines(), key=len)
        for line in lines[: share + (number < rest)]:
            row = {"file": name, **json.loads(line)}
            rows.append(json.dumps(row, ensure_ascii=False) + "\n")
    return "".join(rows)


def files_or_sample() -> dict[str, bytes]:
    """The files if they are here, or else those of the sample."""
    return files() if is_whole() else _listed(SAMPLE) | _listed(LATER)


def _listed(path: Path) -> dict[str, bytes]:
    """The files whose lines a file lists, by their names, in order; none if it is missing."""
    lines: dict[str, list[str]] = {}
    for line in path.read_text("utf-8").splitlines() if path.is_file() else ():
        row = json.loads(line)
        lines.setdefault(row.pop("file"), []).append(json.dumps(row, ensure_ascii=False) + "\n")
    return {name: "".join(rows).encode("utf-8") for name, rows in sorted(lines.items())}


def word_runs(text: str) -> tuple[tuple[str, ...], ...]:
    """List every `SHARED_WORDS` consecutive words of a text, in lower case."""
    words = WORD.findall(text.lower().replace("\\n", " "))
    return tuple(
        tuple(words[at : at + SHARED_WORDS]) for at in range(len(words) - SHARED_WORDS + 1)
    )


def copies(contents: Mapping[str, bytes], public: frozenset[int]) -> Iterator[tuple[str, str]]:
    """Find the texts that consist of known runs of words to `COPIED_SHARE` or more.

    Args:
        contents: the files by their names.
        public: the hashes of the runs in what must not be copied.

    Yields:
        the file and line of a text, and the text.
    """
    for name, content in contents.items():
        for number, line in enumerate(content.decode("utf-8").splitlines(), 1):
            text = json.loads(line)["text"]
            runs = word_runs(text)
            shared = {
                word
                for at, run in enumerate(runs)
                if hash(run) in public
                for word in range(at, at + SHARED_WORDS)
            }
            if shared and len(shared) >= COPIED_SHARE * (len(runs) + SHARED_WORDS - 1):
                yield f"{name}:{number}", text


@click.group()
def main() -> None:
    r"""Unpack what classifiers learn from, and pack it again.

    \b
    Example:
      python -m training.texts unpack    # into training/texts, which git ignores
      python -m training.texts pack      # makes the archive, its checksum and the sample again
      python -m training.texts compare PUBLIC_SET    # lists what is a copy of it
    """


@main.command()
def unpack() -> None:
    """Write every file of the archive into training/texts."""
    if FOLDER.is_dir():
        raise click.ClickException(f"{FOLDER} exists already: pack it, or remove it first")
    contents = files()
    FOLDER.mkdir()
    for name, content in contents.items():
        (FOLDER / name).write_bytes(content)
    click.echo(f"{len(contents)} files in {FOLDER}")


@main.command()
def pack() -> None:
    """Make the archive, its checksum and the sample from training/texts."""
    if not FOLDER.is_dir():
        raise click.ClickException(
            f"{FOLDER} does not exist; first: python -m training.texts unpack"
        )
    contents = files()
    packed = archived(contents)
    ARCHIVE.write_bytes(packed)
    CHECKSUM.write_text(checksum(packed), "ascii")
    SAMPLE.write_text(sample(contents), "utf-8")
    LATER.unlink(missing_ok=True)
    click.echo(f"{len(contents)} files in {ARCHIVE.name}, {ARCHIVE.stat().st_size} bytes")


@main.command()
@click.argument("folders", type=click.Path(exists=True, file_okay=False, path_type=Path), nargs=-1)
def compare(folders: tuple[Path, ...]) -> None:
    """List the attacks that FOLDERS, such as an unpacked public test set, hold word for word."""
    paths = (path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file())
    public = frozenset(
        hash(run) for path in paths for run in word_runs(path.read_text("utf-8", errors="replace"))
    )
    attacks = {name: content for name, content in files().items() if name.startswith("attacks")}
    for place, text in copies(attacks, public):
        click.echo(f"{place}: {text}")


if __name__ == "__main__":
    main()
