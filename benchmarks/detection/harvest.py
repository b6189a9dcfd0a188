"""Innocent cases: texts that are installed on this machine, and noise. Stores nothing.

The path of a text decides whether it is taken, and for which split: two runs on one machine take
the same. The texts were written by people who did not think of a firewall, so whatever is blocked
in them is blocked wrongly.
"""

import base64
import gzip
import json
import os
import re
import sysconfig
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from operator import attrgetter
from pathlib import Path
from random import Random
from uuid import UUID

from benchmarks.detection.cases import Case, Expect, Split, Way
from benchmarks.detection.json_tree import Object
from benchmarks.detection.servers import offered

LARGEST_BYTES = 16 * 1024  # of a case
CHUNK_BYTES = (10_000, 64_000)  # of a piece of a tree
FILE_BYTES = 32 * 2**20  # no tool returns a larger text
NOISE_BYTES = 32 * 1024
NOISE_CASES = 8  # of each kind of noise in each split
AS_ARGUMENTS = 4  # one text in four is an argument, the others are results
TOP = Path(__file__).resolve().parents[2]
SKIPPED = ("__pycache__", ".git", "pipeguard")  # our own packages contain samples of attacks
OURS = (TOP / "tests", TOP / "requirements")

# Each kind with the paths, below a root, of its files; the first that matches counts.
KINDS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        ("man", r"(^|/)man\d/[^/]+\.\d[a-z]*(\.gz)?$"),
        ("licence", r"(^|/)(licen[cs]e|copying|notice|copyright)[^/]*$"),
        ("changelog", r"(^|/)(changelog|changes|news|history|releases?)[^/]*$"),
        ("lock", r"(^|/)(package-lock\.json|requirements[^/]*\.txt|[^/]*\.lock|uv\.lock)$"),
        ("metadata", r"\.(dist|egg)-info/(METADATA|PKG-INFO|RECORD|entry_points\.txt)$"),
        ("npm-readme", r"node_modules/.*readme[^/]*$"),
        ("npm-manifest", r"(^|/)package\.json$"),
        ("readme", r"(^|/)readme[^/]*$"),
        ("stubs", r"\.pyi$|\.d\.ts$"),
        ("test-code", r"(^|/)tests?/.*\.(py|js|ts)$"),
        ("python", r"\.py$"),
        ("javascript", r"\.[cm]?(js|ts)$"),
        ("c", r"\.(c|h|cpp|hpp)$"),
        ("shell", r"\.(sh|bash|zsh|fish|ps1|bat)$"),
        ("docs", r"\.(rst|md|txt|html?|adoc|tex)(\.gz)?$"),
        ("configuration", r"\.(json|ya?ml|toml|cfg|ini|conf|xml)$"),
    )
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may become a case.

    Attributes:
        kind: one of `KINDS`.
        path: of the file.
        name: its path below its root; the root differs from machine to machine.
    """

    kind: str
    path: Path
    name: str

    @property
    def order(self) -> bytes:
        """The order in which files are taken."""
        return sha256(self.name.encode()).digest()


def roots() -> list[Path]:
    """The folders of this machine that have texts: of Python, Node, manuals, and our own locks."""
    paths = sysconfig.get_paths()
    system = ("/usr/share/doc", "/usr/share/man", "/usr/share/licenses", "/usr/share/nodejs")
    node = ("/usr/lib/node_modules", "/usr/local/lib/node_modules")
    wanted = [paths["stdlib"], paths["purelib"], *OURS, TOP / ".tools", *system, *node]
    return [Path(path) for path in dict.fromkeys(map(str, wanted)) if Path(path).is_dir()]


def files(folder: Path) -> Iterator[Path]:
    """The regular files of a tree, in a fixed order; links are not followed."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders).difference(SKIPPED))
        for name in sorted(names):
            path = Path(parent) / name
            if path.is_file() and not path.is_symlink():
                yield path


def candidates(folders: Iterable[Path]) -> Iterator[Candidate]:
    """The files of these trees that are of a kind, each once."""
    seen: set[Path] = set()
    for folder in folders:
        for path in files(folder):
            name = f"{folder.name}/{path.relative_to(folder).as_posix()}"
            ours = folder in OURS and not name.endswith((".txt", ".json"))
            if ours or path in seen:
                continue  # of our own folders only the locks: tests contain attacks
            seen.add(path)
            kind = next((kind for kind, form in KINDS if form.search(name)), None)
            if kind is not None:
                yield Candidate(kind, path, name)


def text_of(path: Path) -> str | None:
    """The text of a file; None if it is not text, or cannot be read."""
    try:
        if path.stat().st_size > FILE_BYTES:
            return None
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        text = content.decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError, gzip.BadGzipFile):
        return None
    return text if text.strip() and "\0" not in text else None


def harvest(count: int, more: Iterable[Path] = ()) -> list[Case]:
    """Innocent cases of both splits.

    Args:
        count: of texts; the kinds take turns until there are so many.
        more: trees to take texts from too.
    """
    by_kind: Mapping[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates([*roots(), *more]):
        by_kind[candidate.kind].append(candidate)
    queues = [iter(sorted(by_kind[kind], key=attrgetter("order"))) for kind, _ in KINDS]
    cases: list[Case] = []
    while queues and len(cases) < count:
        for queue in list(queues):
            case = next((made for file in queue if (made := _case(file)) is not None), None)
            if case is None:
                queues.remove(queue)
            elif len(cases) < count:
                cases.append(case)
    return cases + definitions(more) + noise_cases()


def _case(candidate: Candidate) -> Case | None:
    text = text_of(candidate.path)
    if text is None:
        return None
    name, order = candidate.name, candidate.order
    part = _part(text, Random(name))
    split = Split.TUNED if order[-1] % 2 else Split.HELD
    way = Way.RESULT if order[-2] % AS_ARGUMENTS else Way.ARGUMENTS
    return _innocent(name, split, candidate.kind, way, body_of(part, way))


def body_of(text: str, way: Way) -> Object:
    """A text as a result, or as an argument that a client writes to a file."""
    if way is Way.RESULT:
        return {"method": "tools/call", "result": _result(text)}
    return {"tool": "write_file", "arguments": {"path": "notes.txt", "content": text}}


def _innocent(name: str, split: Split, kind: str, way: Way, body: Object) -> Case:
    return Case(name, split, f"harvest-{kind}", Expect.QUIET, "zxx", way, body)


def _result(text: str) -> Object:
    return {"content": [{"type": "text", "text": text}]}


def _part(text: str, dice: Random) -> str:
    """The part of a text that becomes a case; it begins with a line."""
    content = text.encode()
    if len(content) <= LARGEST_BYTES:
        return text
    start = dice.randrange(len(content) - LARGEST_BYTES)
    part = content[start : start + LARGEST_BYTES].decode(errors="ignore")
    return part.partition("\n")[2] or part


def definitions(more: Iterable[Path] = ()) -> list[Case]:
    """The tools of the reference servers that are installed."""
    cases = []
    for server, tool in offered([TOP / ".tools", *more]):
        assert isinstance(tool, dict)
        name = f"{server}/{tool.get('name')}"
        split = Split.TUNED if sha256(name.encode()).digest()[-1] % 2 else Split.HELD
        body: Object = {"tools": [tool]}
        cases.append(_innocent(name, split, "definition", Way.DEFINITION, body))
    return cases


def chunks(text: str, dice: Random) -> Iterator[str]:
    """A text in pieces of 10 to 64 KB, as tools return them."""
    content, start = text.encode(), 0
    while start < len(content):
        size_bytes = dice.randint(*CHUNK_BYTES)
        yield content[start : start + size_bytes].decode(errors="ignore")
        start += size_bytes


def tree(folder: Path) -> Iterator[tuple[str, str]]:
    """The texts of a tree, small ones joined, large ones cut; each with its first file's path."""
    dice = Random(folder.name)
    gathered, first = "", ""
    for path in files(folder):
        text = text_of(path)
        if text is None:
            continue
        gathered, first = f"{gathered}\n{text}" if gathered else text, first or str(path)
        if len(gathered) >= CHUNK_BYTES[0]:
            for piece in chunks(gathered, dice):
                yield first, piece
            gathered, first = "", ""
    if gathered:
        yield first, gathered


# --- noise ------------------------------------------------------------------------------


def noise(kind: str, seed: str, way: Way) -> Object:
    """The body of a case that is only noise."""
    dice = Random(f"{kind} {seed}")
    if kind != "png":
        return body_of(_noise_text(kind, dice), way)
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1\0\0\0\1\0\x08\6\0\0\0"
    picture = base64.b64encode(head + dice.randbytes(NOISE_BYTES * 3 // 4)).decode()
    if way is Way.ARGUMENTS:
        return body_of(f"data:image/png;base64,{picture}", way)
    image: Object = {"type": "image", "data": picture, "mimeType": "image/png"}
    return {"method": "tools/call", "result": {"content": [image]}}


def _noise_text(kind: str, dice: Random) -> str:
    size_bytes = NOISE_BYTES
    if kind == "base64":
        return base64.b64encode(dice.randbytes(size_bytes * 3 // 4)).decode()
    if kind == "hex":
        return dice.randbytes(size_bytes // 2).hex()
    if kind == "uuid":
        uuids = (UUID(int=dice.getrandbits(128), version=4) for _ in range(size_bytes // 37))
        return "\n".join(map(str, uuids))
    content = json.dumps([dice.random() for _ in range(size_bytes // 14)]).encode()
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


NOISES = ("base64", "hex", "uuid", "png", "gzip")


def noise_case(kind: str, split: Split, number: int, way: Way) -> Case:
    """One case of noise; its name is its seed."""
    name = f"{kind}-{split.value}-{way.value}-{number}"
    return _innocent(name, split, f"noise-{kind}", way, noise(kind, name, way))


def noise_cases() -> list[Case]:
    """Cases of each kind of noise in each split, half of them arguments."""
    return [
        noise_case(kind, split, number, way)
        for kind in NOISES
        for split in Split
        for number in range(NOISE_CASES // 2)
        for way in (Way.RESULT, Way.ARGUMENTS)
    ]
