"""Helpers of the clients' tests: the samples of their YAML files, and a guarded form of each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeguard.clients.catalog import Client, FileSpec, clients
from pipeguard.clients.edit import edit_entries
from pipeguard.clients.entries import Config, GuardState, parse_config
from pipeguard.clients.rewrite import GuardOptions, guarded_fields, judge

LAUNCHER = ("pipeguard",)  # which the samples call PG
OPTIONS = GuardOptions()


@dataclass(frozen=True, slots=True)
class Sample:
    """One of a client's samples."""

    client: Client
    spec: FileSpec
    before: str
    after: str
    left: Mapping[str, str]
    number: int

    def __str__(self) -> str:
        return f"{self.client.id}-{self.number}"


def samples() -> Iterator[Sample]:
    """Every sample of every client."""
    for client in clients().values():
        for number, one in enumerate(client.samples):
            where = f"sample {number} of pipeguard/clients/{client.id}.yaml"
            file = one.get("file", 0)
            assert file in range(len(client.files)), f"{where}: `file` is an index in `files`"
            spec = client.files[file]
            left = one.get("left", {})
            after = one.get("after", "").replace('"PG"', '"pipeguard"')
            yield Sample(client, spec, one["before"], after, left, number)


def read(spec: FileSpec, content: str | bytes) -> Config:
    """Parse a text as a file of a client."""
    data = content.encode() if isinstance(content, str) else content
    return parse_config(Path("/nowhere/file"), (spec,), data)


def guard(spec: FileSpec, text: str) -> str:
    """Return a text with every possible server guarded."""
    config = read(spec, text)
    assert config.problem == ""
    to_do = [
        s for s in config.servers if judge(s, OPTIONS).state in (GuardState.OPEN, GuardState.STALE)
    ]
    wanted = [(server, guarded_fields(server, LAUNCHER)) for server in to_do]
    return edit_entries(config.text, spec.syntax, wanted)[0]


def guarded(sample: Sample) -> str:
    """A sample with its servers guarded; one test compares it with `after`."""
    return guard(sample.spec, sample.before)
