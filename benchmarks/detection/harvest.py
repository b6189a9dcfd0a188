"""Innocent texts from what is installed on this machine, and from seeded noise. Keeps nothing.

Which texts are taken depends on their paths alone, and so does the split that each belongs to:
two runs on one machine see the same. What is read was written by people who thought of no
firewall, so whatever is blocked in it is blocked in vain.
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
from pathlib import Path
from random import Random
from uuid import UUID

from benchmarks.detection.cases import Case, Expect, Object, Split, Way
from benchmarks.detection.servers import offered

LARGEST_BYTES = 16 * 1024  # of a case
CHUNK_BYTES = (10_000, 64_000)  # of a frame of a whole tree
FILE_BYTES = 32 * 2**20  # what is larger is no text that a tool would give
NOISE_BYTES = 32 * 1024
NOISE_CASES = 8  # of each kind of noise in each split
AS_ARGUMENTS = 4  # one of so many is written by the client, the others are read
TOP = Path(__file__).resolve().parents[2]
SKIPPED = (
    "__pycache__",
    ".git",
    "pipeguard",
)  # what we installed ourselves holds samples of attacks
OURS = (TOP / "tests", TOP / "requirements")

# By the first that fits; the path is the one below its root.
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
class Found:
    """One file that could be a case."""

    kind: str
    path: Path
    name: str  # below its root, which differs from machine to machine

    @property
    def order(self) -> bytes:
        """By which files are drawn."""
        return sha256(self.name.encode()).digest()


def roots() -> list[Path]:
    """Where this machine keeps texts: those of Python, Node, manuals, and our own locks."""
    paths = sysconfig.get_paths()
    system = ("/usr/share/doc", "/usr/share/man", "/usr/share/licenses", "/usr/share/nodejs")
    node = ("/usr/lib/node_modules", "/usr/local/lib/node_modules")
    wanted = [paths["stdlib"], paths["purelib"], *OURS, TOP / ".tools", *system, *node]
    return [Path(one) for one in dict.fromkeys(map(str, wanted)) if Path(one).is_dir()]


def files(folder: Path) -> Iterator[Path]:
    """Every plain file of a tree in a fixed order; links are not followed."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if one not in SKIPPED)
        for name in sorted(names):
            path = Path(parent) / name
            if path.is_file() and not path.is_symlink():
                yield path


def found(folders: Iterable[Path]) -> Iterator[Found]:
    """The files of these trees whose kind is known, each once."""
    seen: set[Path] = set()
    for folder in folders:
        for path in files(folder):
            name = f"{folder.name}/{path.relative_to(folder).as_posix()}"
            ours = folder in OURS and not name.endswith((".txt", ".json"))
            if ours or path in seen:
                continue  # of our own folders only the locks: tests hold attacks
            seen.add(path)
            kind = next((kind for kind, form in KINDS if form.search(name)), None)
            if kind is not None:
                yield Found(kind, path, name)


def text_of(path: Path) -> str | None:
    """A file's text; None where it is none, or cannot be read."""
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
        count: how many texts of files; the kinds take turns until there are so many.
        more: further trees to look in.
    """
    by_kind: Mapping[str, list[Found]] = defaultdict(list)
    for one in found([*roots(), *more]):
        by_kind[one.kind].append(one)
    queues = [iter(sorted(by_kind[kind], key=lambda one: one.order)) for kind, _ in KINDS]
    cases: list[Case] = []
    while queues and len(cases) < count:
        for queue in list(queues):
            case = next((made for one in queue if (made := _case(one)) is not None), None)
            if case is None:
                queues.remove(queue)
            elif len(cases) < count:
                cases.append(case)
    return cases + definitions(more) + noise_cases()


def _case(one: Found) -> Case | None:
    text = text_of(one.path)
    if text is None:
        return None
    part = _part(text, Random(one.name))
    split = Split.TUNED if one.order[-1] % 2 else Split.HELD
    way = Way.RESULT if one.order[-2] % AS_ARGUMENTS else Way.ARGUMENTS
    return _innocent(one.name, split, one.kind, way, body_of(part, way))


def body_of(text: str, way: Way) -> Object:
    """A text as a tool gives it, or as a client writes it into a file."""
    if way is Way.RESULT:
        return {"method": "tools/call", "result": _result(text)}
    return {"tool": "write_file", "arguments": {"path": "notes.txt", "content": text}}


def _innocent(name: str, split: Split, kind: str, way: Way, body: Object) -> Case:
    return Case(name, split, f"harvest-{kind}", Expect.QUIET, "zxx", way, body)


def _result(text: str) -> Object:
    return {"content": [{"type": "text", "text": text}]}


def _part(text: str, dice: Random) -> str:
    """So much of a text as makes a case, from the beginning of a line on."""
    content = text.encode()
    if len(content) <= LARGEST_BYTES:
        return text
    start = dice.randrange(len(content) - LARGEST_BYTES)
    part = content[start : start + LARGEST_BYTES].decode(errors="ignore")
    return part.partition("\n")[2] or part


def definitions(more: Iterable[Path] = ()) -> list[Case]:
    """What the reference servers say of their tools, where such servers are installed."""
    cases = []
    for server, tool in offered([TOP / ".tools", *more]):
        assert isinstance(tool, dict)
        name = f"{server}/{tool.get('name')}"
        split = Split.TUNED if sha256(name.encode()).digest()[-1] % 2 else Split.HELD
        body: Object = {"tools": [tool]}
        cases.append(_innocent(name, split, "definition", Way.DEFINITION, body))
    return cases


def chunks(text: str, dice: Random) -> Iterator[str]:
    """A text in pieces as tools give them, between 10 and 64 KB."""
    content, start = text.encode(), 0
    while start < len(content):
        size_bytes = dice.randint(*CHUNK_BYTES)
        yield content[start : start + size_bytes].decode(errors="ignore")
        start += size_bytes


def tree(folder: Path) -> Iterator[tuple[str, str]]:
    """All that is readable in a tree: small files joined, large ones cut; with the first's path."""
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
    """The body of a case that holds nothing but noise."""
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
        some = (UUID(int=dice.getrandbits(128), version=4) for _ in range(size_bytes // 37))
        return "\n".join(map(str, some))
    content = json.dumps([dice.random() for _ in range(size_bytes // 14)]).encode()
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


NOISES = ("base64", "hex", "uuid", "png", "gzip")


def noise_case(kind: str, split: Split, number: int, way: Way) -> Case:
    """One case of noise; its seed is its own name."""
    name = f"{kind}-{split.value}-{way.value}-{number}"
    return _innocent(name, split, f"noise-{kind}", way, noise(kind, name, way))


def noise_cases() -> list[Case]:
    """Some of each kind in each split, half of them as arguments."""
    return [
        noise_case(kind, split, number, way)
        for kind in NOISES
        for split in Split
        for number in range(NOISE_CASES // 2)
        for way in (Way.RESULT, Way.ARGUMENTS)
    ]
