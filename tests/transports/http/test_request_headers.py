"""Headers that repeat the body in MCP 2026-07-28: written, read back, and compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.transports.http.request_headers import (
    MAX_MIRRORED,
    METHOD,
    NAME,
    PARAM,
    VERSION,
    VERSION_META,
    decode_header,
    disagreement,
    encode_header,
    find_mirrored,
    find_revision,
    make_headers,
)
from tests.fuzz.budget import tried

REVISION = "2026-07-28"
MIRRORED = {"Region": ("region",), "Deep": ("a", "b")}


def body(text: str) -> JsonObject:
    value = parse_json(text.encode())
    assert isinstance(value, dict)
    return value


def call(arguments: str = "{}", name: str = '"find"', method: str = "tools/call") -> JsonObject:
    meta = f'"_meta":{{"{VERSION_META}":"{REVISION}"}}'
    params = f'{{"name":{name},"arguments":{arguments},{meta}}}'
    return body(f'{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}')


def differs(value: JsonObject, **headers: str) -> str | None:
    given = CIMultiDict(make_headers(value, {}))
    given.update({name.replace("_", "-"): text for name, text in headers.items()})
    return disagreement(value, given, MIRRORED)


# --- one value --------------------------------------------------------------------------------


@tried(200)
@given(
    st.text(max_size=20) | st.sampled_from(["=?base64??=", "=?base64?=", " a", "a\t", "\r\nX: y"])
)
def test_any_text_comes_back_out_of_its_header(text: str) -> None:
    header = encode_header(text)
    assert header.isascii()
    assert header.isprintable()
    assert header == header.strip()
    assert decode_header(header) == text


@pytest.mark.parametrize("header", ["=?base64?!!?=", "=?base64?YQ?=", "=?base64?/w==?="])
def test_what_is_not_well_formed_stands_for_nothing(header: str) -> None:
    assert decode_header(header) is None
    assert differs(call(), Mcp_Name=header) == "Mcp-Name cannot be decoded"


# --- what is sent -----------------------------------------------------------------------------


def test_a_call_is_sent_with_all_that_it_repeats() -> None:
    arguments = '{"region":"caf\u00e9","a":{"b":12.50},"other":"x"}'
    assert make_headers(call(arguments), MIRRORED) == {
        METHOD: "tools/call",
        VERSION: REVISION,
        NAME: "find",
        PARAM + "Region": "=?base64?Y2Fmw6k=?=",
        PARAM + "Deep": "12.50",
    }


@pytest.mark.parametrize(
    ("method", "params", "name"),
    [
        ("prompts/get", '{"name":"p"}', "p"),
        ("resources/read", '{"uri":"file:///a"}', "file:///a"),
        ("tasks/get", '{"taskId":"t"}', "t"),
        ("tasks/update", '{"taskId":"t"}', "t"),
        ("tasks/cancel", '{"taskId":"t"}', "t"),
        ("tools/list", '{"name":"p"}', None),
        ("tools/call", '{"name":1}', None),
        ("tools/call", "{}", None),
    ],
)
def test_what_a_request_is_about_is_its_name(method: str, params: str, name: str | None) -> None:
    value = body(f'{{"method":"{method}","params":{params}}}')
    assert make_headers(value, {}).get(NAME) == name
    assert find_revision(value) is None


@pytest.mark.parametrize(
    "text", ["{}", '{"params":[]}', '{"params":{"_meta":[]}}', '{"result":{}}']
)
def test_what_has_no_such_member_has_no_such_header(text: str) -> None:
    assert make_headers(body(text), MIRRORED) == {METHOD: ""}
    assert find_revision(body(text)) is None


@pytest.mark.parametrize(
    ("argument", "text"),
    [('"x"', "x"), ("true", "true"), ("false", "false"), ("-0.50", "-0.50"), ("1e400", "1e400")],
)
def test_a_parameter_is_repeated_as_it_stands(argument: str, text: str) -> None:
    headers = make_headers(call(f'{{"region":{argument}}}'), MIRRORED)
    assert headers[PARAM + "Region"] == text


# --- what is compared -------------------------------------------------------------------------


def test_headers_that_say_the_same_pass_and_so_do_missing_ones() -> None:
    value = call('{"region":"eu","a":{"b":12.50}}')
    assert disagreement(value, CIMultiDict(make_headers(value, MIRRORED)), MIRRORED) is None
    assert disagreement(value, CIMultiDict(), MIRRORED) is not None
    assert differs(value) is None
    assert differs(value, mcp_method="tools/call", MCP_PARAM_REGION="eu") is None


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("Mcp-Method", ""),
        ("Mcp-Name", "find "),
        ("Mcp-Name", "=?base64?b3RoZXI=?="),
        ("Mcp-Param-Region", "EU"),
        ("Mcp-Param-Deep", "12.51"),
        ("Mcp-Param-Deep", "NaN"),
        ("Mcp-Param-Deep", "1_2.5"),
        ("Mcp-Param-Deep", "\u0661\u0662.5"),
    ],
)
def test_a_header_that_says_otherwise_is_named(header: str, text: str) -> None:
    value = call('{"region":"eu","a":{"b":12.50}}')
    assert differs(value, **{header: text}) == f"{header} differs from the body"


def test_numbers_are_compared_by_what_they_count_and_texts_are_not() -> None:
    for same in ("12.5", "12.50", "1.25e1", "125E-1"):
        assert differs(call('{"a":{"b":12.50}}'), Mcp_Param_Deep=same) is None
    assert differs(call('{"region":"007"}'), Mcp_Param_Region="7") is not None
    assert differs(call('{"region":"1e2"}'), Mcp_Param_Region="100") is not None
    assert differs(call(name='"007"'), Mcp_Name="7") is not None
    assert differs(call('{"a":{"b":1e9999999999999999999}}'), Mcp_Param_Deep="1") is not None
    assert differs(call('{"a":{"b":' + "9" * 5000 + "}}"), Mcp_Param_Deep="1") is not None


def test_a_header_that_repeats_nothing_of_the_body_is_a_difference() -> None:
    assert differs(call("{}"), Mcp_Param_Region="eu") == "Mcp-Param-Region differs from the body"
    assert differs(call('{"region":null}'), Mcp_Param_Region="null") is not None
    unnamed = body('{"method":"tools/call","params":{}}')
    assert differs(unnamed, Mcp_Name="find") == "Mcp-Name differs from the body"
    assert differs(body('{"method":"tools/call"}'), Mcp_Name="find") is not None


# --- schemas ----------------------------------------------------------------------------------


def tool(properties: str) -> JsonObject:
    return body(f'{{"name":"find","inputSchema":{{"properties":{properties}}}}}')


def test_a_schema_names_headers_at_any_depth_of_properties() -> None:
    properties = (
        '{"region":{"type":"string","x-mcp-header":"Region"},'
        '"a":{"properties":{"b":{"x-mcp-header":"Deep"}}},"plain":{"type":"string"}}'
    )
    assert find_mirrored(tool(properties)) == MIRRORED


@pytest.mark.parametrize(
    "definition", [None, [], {}, {"inputSchema": []}, {"inputSchema": {"properties": []}}]
)
def test_what_is_no_schema_names_nothing(definition: JsonObject) -> None:
    assert find_mirrored(definition) == {}


def test_a_schema_names_only_so_many_and_so_deep() -> None:
    wide = ",".join(f'"p{n}":{{"x-mcp-header":"H{n}"}}' for n in range(2 * MAX_MIRRORED))
    assert len(find_mirrored(tool("{" + wide + "}"))) == MAX_MIRRORED
    deep = '{"x-mcp-header":"H"}'
    for _ in range(30):
        deep = f'{{"properties":{{"a":{deep}}}}}'
    assert find_mirrored(body(f'{{"inputSchema":{deep}}}')) == {}
