"""Every client's samples: before becomes after, twice is once, and the way back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeguard.clients.catalog import FOLDER, Client, Transport, clients
from pipeguard.clients.edit import edit_entries
from pipeguard.clients.entries import GuardState
from pipeguard.clients.machine import Machine
from pipeguard.clients.rewrite import judge, open_fields
from pipeguard.errors import PolicyError
from tests.clients.samples import OPTIONS, Sample, guard, guarded, read, samples
from tests.clients.schema import FOLDERS, check
from tests.each import each

ALL = list(samples())
CHANGED = [sample for sample in ALL if sample.after]
LEFT = [sample for sample in ALL if sample.left]


@each("sample", CHANGED)
def test_before_becomes_after(sample: Sample) -> None:
    assert guard(sample.spec, sample.before) == sample.after


@each("sample", CHANGED)
def test_what_is_guarded_is_guarded_once(sample: Sample) -> None:
    after = guarded(sample)
    assert guard(sample.spec, after) == after


@each("sample", LEFT)
def test_what_cannot_be_guarded_is_left_and_said(sample: Sample) -> None:
    config = read(sample.spec, sample.before)
    found = {server.name: judge(server, OPTIONS) for server in config.servers}
    assert {name: one.code or "open" for name, one in found.items()} == sample.left
    assert all(one.why for one in found.values() if one.state is not GuardState.OPEN)


@each("sample", CHANGED)
def test_without_a_record_the_meaning_comes_back(sample: Sample) -> None:
    config = read(sample.spec, guarded(sample))
    wanted = [(server, open_fields(server)) for server in config.servers if server.guard]
    opened = read(sample.spec, edit_entries(config.text, sample.spec.syntax, wanted).text)
    before = read(sample.spec, sample.before)
    for was, now in zip(before.servers, opened.servers, strict=True):
        assert now.guard is None
        assert (now.name, now.words, now.url, now.headers) == (
            was.name,
            was.words,
            was.url,
            was.headers,
        )
        assert now.env == was.env
        usual = (None, Transport.HTTP)  # which of the two it said is not known any more
        assert now.transport == was.transport or {now.transport, was.transport} <= set(usual)


@each("client", clients())
def test_a_client_says_what_it_is_and_proves_it(client: Client) -> None:
    names = [other.name.lower() for other in clients().values()]
    assert names.count(client.name.lower()) == 1, "another client has the same name"
    assert client.checked
    assert client.source in ("client", "agreed", "reported")
    assert bool(client.files) != bool(client.paste)
    if client.files:
        befores = [sample for sample in CHANGED if sample.client.id == client.id]
        assert befores, "no sample shows what becomes of an entry"


@each("client", clients())
def test_a_file_has_the_keys_and_values_of_the_schema(client: Client) -> None:
    check((FOLDER / f"{client.id}.yaml").read_text("utf-8"), client.id)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("checked: x", "line 1, column 1: `name` is missing"),
        ("name: x\nfiles:\n- att: y", "line 3, column 3: files.0..att: unknown key"),
        ("name: x\nshape:\n  comand: z", "line 3, column 3: shape.comand: unknown key"),
        ("name: x\nformat: jsn", "line 2, .*`jsn` is not one of json, toml, yaml. .*`json`"),
        ("name: x\nallows: [coments]", "line 2, .*not one of comments, .*`comments`"),
        ("name: x\nchecked: 2026-11-3", "line 2, .*expected a year and a month, as 2026-11"),
        ("name: x\nmanaged: {linus: /y}", "line 2, .*managed.linus: unknown key. .*`linux`"),
        ("name: x\npresent: '{confg}/y'", "line 2, .*`{confg}` is no folder"),
        (
            "name: x\nfiles: [at: ~/.y/mcp.json]",
            "line 2, .*begins with none of {folder}, .VARIABLE",
        ),
        ("name: x\nshape: {untold: htp}", "line 2, .*not one of streamable-http, sse, websocket"),
        ("name: x\nshape: {variable: '${['}", "line 2, .*variable: .*regular expression: unter"),
        ("name: x\nservers: [[mcp], y]", "line 2, .*expected a list, not `y`"),
        ("name: x\nservers: [5]", 'line 2, .*quote it: "5"'),
        ("name: x\nshape: {off: {y: z}}", 'line 2, column 9: shape: .* quote it: "off"'),
        ("name: x\nsamples: [after: y]", r"line 2, .*samples.0.: `before` is missing"),
        ("name: x\nsamples: [{before: y, left: {no: z}}]", 'line 2, .*quote it: "no"'),
    ],
)
def test_the_schema_says_what_is_wrong_and_where(text: str, why: str) -> None:
    with pytest.raises(PolicyError, match=f"(?s)new.yaml .*{why}"):
        check(text, "new.yaml")


def test_folders_that_a_place_may_name_are_those_of_a_machine() -> None:
    machine = Machine("windows", Path("/home/kim"), {})
    assert [name for name in FOLDERS if machine.folder(name) is None] == ["project"]


def _tabs(text: str) -> str:
    return re.sub(r"(?m)^ +", lambda blanks: "\t" * (len(blanks[0]) // 2), text)


def _minified(text: str) -> str:
    return json.dumps(json.loads(text), separators=(",", ":"))


FORMATTINGS: dict[str, Callable[[str], str]] = {
    "crlf": lambda text: text.replace("\n", "\r\n"),
    "no final line break": lambda text: text.rstrip("\n"),
    "tabs": _tabs,
    "comments": lambda text: text.replace("\n", ' // "mcpServers": {\n'),
    "minified": _minified,
}


def can_be(sample: Sample, how: str) -> bool:
    """Whether the sample's format has such a thing, and its client takes it."""
    if how in ("crlf", "no final line break"):
        return True
    if how == "minified":  # what it holds already cannot be read by the standard parser
        return sample.spec.format == "json" and not re.search(
            r"(?m)^\s*//|//\s|,\s*[}\]]", sample.before
        )
    return sample.spec.format == "json" and (how == "tabs" or "comments" in sample.spec.allows)


@each(
    "sample, how",
    {
        f"{sample}-{how}": (sample, how)
        for sample in CHANGED
        for how in FORMATTINGS
        if can_be(sample, how)
    },
)
def test_it_is_the_same_in_every_formatting(sample: Sample, how: str) -> None:
    write = FORMATTINGS[how]
    made, after = guard(sample.spec, write(sample.before)), guarded(sample)
    if how == "minified":  # what is put in has blanks
        assert json.loads(made) == json.loads(after)
        assert "\n" not in made
    elif how == "comments":  # what is put in has none
        data_of = sample.spec.syntax.independent_data
        assert data_of(made) == data_of(after)
        assert made.count("//") - after.count("//") == sample.before.count("\n")
    else:
        assert made == write(after)
