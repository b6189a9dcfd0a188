"""Every client's samples: before becomes after, twice is once, and the way back."""

import json
import re
from collections.abc import Callable

import pytest
import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no types

from pipeguard.clients.catalog import FOLDER, Client, Transport, clients
from pipeguard.clients.edit import edit_entries
from pipeguard.clients.entries import GuardState
from pipeguard.clients.rewrite import judge, open_fields
from tests.clients.samples import OPTIONS, Sample, guard, guarded, read, samples
from tests.clients.schema import CLIENT
from tests.each import each, some

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
    opened = read(sample.spec, edit_entries(config.text, sample.spec.syntax, wanted)[0])
    before = read(sample.spec, sample.before)
    for was, now in some(zip(before.servers, opened.servers, strict=True)):
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


def errors(text: str | bytes) -> list[str]:
    """List every error of a client's file against the schema, with its path."""
    found = Draft202012Validator(CLIENT).iter_errors(yaml.safe_load(text))
    return [f"{error.json_path}: {error.message}" for error in found]


@each("client", clients())
def test_a_file_has_the_keys_and_values_of_the_schema(client: Client) -> None:
    assert errors((FOLDER / f"{client.id}.yaml").read_bytes()) == []


@pytest.mark.parametrize(
    "text",
    [
        "checked: 2026-11",
        "name: x\nfiles: [att: y]",
        "name: x\nmanaged: {linus: /y}",
        "name: x\nfiles: [at: ~/.y/mcp.json]",
        "name: x\nshape: {untold: htp}",
        "name: x\nshape: {off: {y: z}}",  # YAML reads it as false
    ],
)
def test_the_schema_takes_no_other(text: str) -> None:
    assert errors(text)


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
    """True if the sample's format allows such a variation, and its client accepts it."""
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
