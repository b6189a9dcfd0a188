"""The gateway's entry in every client's samples: put in, found again, and taken out."""

from hypothesis import given

from pipeguard.clients.catalog import FileSpec
from pipeguard.clients.entries import Config, GuardState, ServerEntry
from pipeguard.clients.gateway_entry import put_back, with_gateway
from pipeguard.clients.guarding import gateway_launcher
from pipeguard.clients.rewrite import judge
from tests.clients.documents import NAME, Document, json_documents, toml_documents, yaml_documents
from tests.clients.samples import LAUNCHER, OPTIONS, Sample, read, samples
from tests.clients.test_generated import ELSEWHERE, SPECS
from tests.clients.test_samples import FORMATTINGS, can_be
from tests.each import each
from tests.fuzz.budget import tried

MOVED = (GuardState.OPEN, GuardState.GUARDED)
CASES = {
    f"{sample}-{which}-{how}": (sample, FORMATTINGS.get(how, str)(text))
    for sample in samples()
    if sample.after
    for which, text in (("open", sample.before), ("guarded", sample.after))
    for how in ("as it is", *FORMATTINGS)
    if how == "as it is" or can_be(sample, how)
}


def movable(config: Config) -> list[ServerEntry]:
    return [server for server in config.servers if judge(server, OPTIONS).state in MOVED]


def take_out(config: Config) -> str:
    return with_gateway(config, movable(config), LAUNCHER)[0]


@each("sample, text", CASES)
def test_all_that_can_be_moves_and_one_entry_stays(sample: Sample, text: str) -> None:
    config = read(sample.spec, text)
    made = read(sample.spec, take_out(config))
    gateways = [s for s in made.servers if gateway_launcher(s.words)]
    assert [server.words for server in gateways] == [(*LAUNCHER, "serve")]
    assert judge(gateways[0], OPTIONS).state is GuardState.GUARDED
    assert gateways[0].off is False
    left = [s.fields for s in config.servers if s not in movable(config)]
    assert [s.fields for s in made.servers if s not in gateways] == left


@each("sample, text", CASES)
def test_without_its_backup_the_same_text_is_put_back(sample: Sample, text: str) -> None:
    config = read(sample.spec, text)
    out, changed, entry = with_gateway(config, movable(config), LAUNCHER)
    changes = {change.path: change for change in changed}
    back, names_taken = put_back(read(sample.spec, out), config, changes, entry)
    assert names_taken == ()
    data_of = sample.spec.syntax.independent_data
    assert data_of(back) == data_of(text)
    for change in changed:
        assert all(piece in back for piece in change.before)


def test_no_empty_line_is_left_where_servers_were() -> None:
    lines = ",\n".join(f'    "{name}": {{"command": "{name}"}}' for name in "abcde")
    text = f'{{\n  "mcpServers": {{\n{lines}\n  }},\n  "theme": "dark"\n}}\n'
    out = take_out(read(SPECS["json"], text))
    assert len(out.splitlines()) == len(text.splitlines()) - 4
    assert "\n\n" not in out.replace(" ", "")


def check_generated(spec: FileSpec, document: Document) -> None:
    """Only the entry's text changes, and the same text is put back even if the file changed."""
    config = read(spec, document.text)
    assert config.problem == ""
    server = next(server for server in config.servers if server.name == NAME)
    out, changed, entry = with_gateway(config, [server], LAUNCHER)
    assert out.endswith(document.after)
    changes = {change.path: change for change in changed}
    above, below = ELSEWHERE[spec.format]
    back, _ = put_back(read(spec, above + out + below), config, changes, entry)
    assert back == above + document.text + below


@tried(50)
@given(json_documents())
def test_json_is_put_back_exactly(document: Document) -> None:
    check_generated(SPECS["json"], document)


@tried(50)
@given(toml_documents())
def test_toml_is_put_back_exactly(document: Document) -> None:
    check_generated(SPECS["toml"], document)


@tried(50)
@given(yaml_documents())
def test_yaml_is_put_back_exactly(document: Document) -> None:
    check_generated(SPECS["yaml"], document)
