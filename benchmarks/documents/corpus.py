"""Real documents, found on this machine when the benchmark runs. Stores nothing.

The hash of a document's path says whether it is taken, and the hash of its project's name whether
training may learn from the project: what is measured by default are projects that nothing learned.
"""

import argparse
import gzip
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path

from benchmarks.detection.harvest import files, roots
from benchmarks.documents.kinds import Kind, kind_of

LARGEST_BYTES = 256 * 1024  # of a document; of a longer one, its start
FILE_BYTES = 4 * 2**20  # no longer file is opened
SMALLEST_BYTES = 64
PER_PROJECT = 24  # documents of one kind
OURS = ("pipeguard", "mcp_pipeguard")  # our own packages contain samples of attacks


@dataclass(frozen=True, slots=True)
class Document:
    """A document of a project.

    Attributes:
        project: that it is part of: a repository, a package, a program.
        kind: what it is.
        name: its path below the project.
        path: of its file.
    """

    project: str
    kind: Kind
    name: str
    path: Path

    @property
    def order(self) -> bytes:
        """The order in which documents are taken."""
        return sha256(f"{self.project}/{self.name}".encode()).digest()

    def text(self) -> str | None:
        """Its text; None if it is not UTF-8, or too short."""
        try:
            if self.path.stat().st_size > FILE_BYTES:
                return None
            content = self.path.read_bytes()
            if self.path.suffix == ".gz":
                content = gzip.decompress(content)
        except (OSError, EOFError, gzip.BadGzipFile):
            return None
        if len(content) < SMALLEST_BYTES or b"\0" in content:
            return None
        try:
            content.decode("utf-8")
        except UnicodeDecodeError:
            return None
        return content[:LARGEST_BYTES].decode("utf-8", "ignore")


def is_learned(project: str) -> bool:
    """True if training may learn from a project; one in two, by the hash of its name."""
    return sha256(project.encode()).digest()[0] % 2 == 0


def documents(
    count: int, folders: Iterable[Path] = (), *, learned: bool | None = False
) -> list[Document]:
    """Documents of many projects; the kinds take turns, and in each the projects.

    Args:
        count: of documents, at most.
        folders: with one project in each of their folders, besides what is installed.
        learned: True for projects that training may learn from, False for others, None for all.
    """
    by_kind: dict[Kind, dict[str, list[Document]]] = defaultdict(lambda: defaultdict(list))
    for document in candidates(folders):
        if learned is None or is_learned(document.project) is learned:
            by_kind[document.kind][document.project].append(document)
    queues = [_in_turns(list(projects.values())) for _, projects in sorted(by_kind.items())]
    return list(islice(_alternating(queues), count))


def _in_turns(projects: Sequence[list[Document]]) -> Iterator[Document]:
    """Documents of one kind: a first one of each project, then a second one."""
    ranked = sorted(
        (sorted(each, key=lambda document: document.order) for each in projects),
        key=lambda each: each[0].order,
    )
    for place in range(PER_PROJECT):
        for each in ranked:
            if place < len(each):
                yield each[place]


def _alternating(queues: list[Iterator[Document]]) -> Iterator[Document]:
    while queues:
        for queue in list(queues):
            document = next(queue, None)
            if document is None:
                queues.remove(queue)
            else:
                yield document


def candidates(folders: Iterable[Path]) -> Iterator[Document]:
    """All files that may be documents, each once."""
    seen: set[Path] = set()
    for folder in folders:
        for project in sorted(folder.iterdir()):
            if project.is_dir():
                yield from _in_tree(project, project.name, seen)
    for root in roots():
        yield from _in_tree(root, "", seen)


def _in_tree(root: Path, project: str, seen: set[Path]) -> Iterator[Document]:
    """The documents in a tree, of one project or, without its name, of those in the tree."""
    for path in files(root):
        if path in seen:
            continue
        seen.add(path)
        name = path.relative_to(root).as_posix()
        owner = project or project_of(path.as_posix(), name)
        kind = kind_of(name)
        if kind is not None and owner not in OURS:
            yield Document(owner, kind, name, path)


def project_of(path: str, name: str) -> str:
    """The package that an installed file belongs to, by its path.

    Args:
        path: of the file, whole.
        name: its path below a folder such as `site-packages`, `/usr/share/doc`, `/usr/share/man`.
    """
    if "/node_modules/" in path:
        parts = path.rpartition("/node_modules/")[2].split("/")
        return "/".join(parts[: 2 if parts[0].startswith("@") else 1])
    if "/site-packages/" in path:
        top = path.rpartition("/site-packages/")[2].split("/")[0]
        return top.removesuffix(".py").partition("-")[0].lower()
    if "/share/man/" in path:
        return path.rpartition("/")[2].partition(".")[0].partition("-")[0]
    if "/share/doc/" in path:
        return name.split("/")[0]
    return "python" if "/python3" in path else "others"


def existing_folder(given: str) -> Path:
    """The folder that an option names.

    Raises:
        ArgumentTypeError: there is none.
    """
    if not Path(given).is_dir():
        raise argparse.ArgumentTypeError(f"{given} is no folder")
    return Path(given)
