"""Odd configurations, with the position of the one entry in them known to the byte.

Each document is a prefix, an entry and a suffix. Prefix and suffix must not change, whatever is
done to the entry.
"""

import json
from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.strategies import booleans, dictionaries, lists, sampled_from

NAME = "it"
_BLANK = sampled_from(["", " ", "  ", "\n", "\n  ", "\t", "\r\n", " \n\t"])
_JSON_SPACE = st.one_of(
    _BLANK, sampled_from([' // a "comment", {\n', '/* [ "mcpServers": { */', "\n// é\n\n"])
)
_WORD = st.one_of(
    sampled_from(
        ["npx", "-y", "--", "a b", 'q"q', "b\\s", "$V", "${X}", "é", "", "#x", "yes", "1"]
    ),
    st.text(
        st.characters(
            codec="utf-8",
            exclude_categories=["Cs", "Cc", "Zl", "Zp"],
            exclude_characters="\x7f\x85\ufeff",
        ),
        max_size=8,
    ),
)
_PROGRAM = sampled_from(["npx", "/opt/my srv", "C:\\x\\srv.exe", "./srv", "sévr", 'a"b'])
_SCALAR = st.one_of(st.integers(-99, 99), booleans(), st.none(), _WORD)
_VALUE = st.recursive(
    _SCALAR,
    lambda inner: st.one_of(
        lists(inner, max_size=3), dictionaries(st.text("abxyz", min_size=1), inner, max_size=3)
    ),
    max_leaves=6,
)


@dataclass(frozen=True, slots=True)
class Document:
    """A configuration with one open entry called `it`.

    Attributes:
        before: all up to the entry.
        entry: its text.
        after: all from its end.
    """

    before: str
    entry: str
    after: str

    @property
    def text(self) -> str:
        """The whole of it."""
        return self.before + self.entry + self.after


@st.composite
def entries(draw: st.DrawFn, header_key: str = "headers") -> dict[str, object]:
    """The fields of a started or a remote server, with others between them."""
    keys = sampled_from(["timeout", "trust", "x-y", "tools"])
    more = draw(dictionaries(keys, _VALUE, max_size=2))
    names = sampled_from(["K", "LONG_NAME", "PIPEGUARD_H1"])
    env = draw(dictionaries(names, _WORD, max_size=2))
    fields: dict[str, object] = {}
    if draw(booleans()):
        fields["command"] = draw(_PROGRAM)
        if draw(booleans()):
            fields["args"] = draw(lists(_WORD, max_size=4))
    else:
        fields["url"] = draw(sampled_from(["https://x.test/mcp", "http://localhost:8/a?b=c"]))
        headers = sampled_from(["Authorization", "X-A", "x.y"])
        fields[header_key] = draw(dictionaries(headers, _WORD, min_size=1, max_size=3))
    if draw(booleans()):
        fields["env"] = env
    fields |= more
    return {key: fields[key] for key in draw(st.permutations(list(fields)))}


def _written(draw: st.DrawFn, value: object) -> str:
    """A value as JSON with blanks and comments anywhere, and strings escaped in odd ways."""
    if isinstance(value, dict):
        members = [
            f"{_string(draw, key)}{draw(_JSON_SPACE)}:{draw(_JSON_SPACE)}{_written(draw, item)}"
            for key, item in value.items()
        ]
        return "{" + _joined(draw, members) + "}"
    if isinstance(value, list):
        return "[" + _joined(draw, [_written(draw, item) for item in value]) + "]"
    return _string(draw, value) if isinstance(value, str) else json.dumps(value)


def _joined(draw: st.DrawFn, parts: list[str]) -> str:
    spaced = [f"{draw(_JSON_SPACE)}{part}{draw(_JSON_SPACE)}" for part in parts]
    trailing = "," + draw(_JSON_SPACE) if draw(booleans()) and parts else ""
    return (",".join(spaced) or draw(_JSON_SPACE)) + trailing


def _string(draw: st.DrawFn, text: str) -> str:
    if text and draw(st.integers(0, 9)) == 0:
        return '"' + "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else c for c in text) + '"'
    return json.dumps(text, ensure_ascii=draw(booleans()))


@st.composite
def json_documents(draw: st.DrawFn) -> Document:
    """JSON with comments: other servers next to the entry, other keys next to the servers."""
    others = draw(dictionaries(sampled_from(["a", "command", "f s"]), entries(), max_size=2))
    first = [_pair(draw, name, value) for name, value in others.items()]
    split = draw(st.integers(0, len(first)))
    beside = draw(dictionaries(sampled_from(["theme", "inputs", "x"]), _VALUE, max_size=2))
    outer = [_pair(draw, name, value) for name, value in beside.items()]
    outer_split = draw(st.integers(0, len(outer)))
    before = "{" + draw(_JSON_SPACE) + "".join(part + "," for part in outer[:outer_split])
    before += f'"mcpServers"{draw(_JSON_SPACE)}:{draw(_JSON_SPACE)}{{'
    before += draw(_JSON_SPACE) + "".join(part + "," for part in first[:split])
    before += f"{_string(draw, NAME)}{draw(_JSON_SPACE)}:{draw(_JSON_SPACE)}"
    after = draw(_JSON_SPACE) + "".join("," + part for part in first[split:])
    after += draw(sampled_from(["", ","])) + draw(_JSON_SPACE) + "}" + draw(_JSON_SPACE)
    after += "".join("," + part for part in outer[outer_split:]) + draw(_JSON_SPACE) + "}"
    return Document(before, _written(draw, draw(entries())), after + draw(_JSON_SPACE))


def _pair(draw: st.DrawFn, name: str, value: object) -> str:
    key = f"{draw(_JSON_SPACE)}{_string(draw, name)}{draw(_JSON_SPACE)}:{draw(_JSON_SPACE)}"
    return key + _written(draw, value) + draw(_JSON_SPACE)


_TOML_LINE = sampled_from(["", "# [mcp_servers.it]", "  # command = 'x'", "\t"])
_TOML_TABLES = sampled_from(
    [
        '[tui]\ntheme = "x"\n',
        "[[list]]\na = 1\n[[list]]\na = 2\n",
        "[a.b]\n'c d' = 1979-05-27 07:32:00\n",
        '[mcp_servers.other]\ncommand = "srv"\nargs = [\n  "a", # b\n]\n',
        '[mcp_servers."a.b"]\nurl = "https://y.test"\n[mcp_servers."a.b".http_headers]\nA = "b"\n',
        'text = """\n[mcp_servers.it]\ncommand = "no"\n"""\n',
        "[n]\nx = 0x1F\ny = 1e3\nz = -inf\nw = nan\n",
    ]
)


@st.composite
def toml_documents(draw: st.DrawFn) -> Document:
    """TOML: the entry as a table with sub-tables, or inline, between other tables."""
    newline = draw(sampled_from(["\n", "\r\n"]))
    first = sampled_from(['model = "m"', "number = 1_000 # é", "", "# only this"])
    head = draw(lists(first, max_size=2, unique=True))
    tables = draw(lists(_TOML_TABLES, max_size=4, unique=True))
    loose = [one for one in tables if one.startswith("text")]
    tables = [one for one in tables if not one.startswith("text")]
    split = draw(st.integers(0, len(tables)))
    before = "".join(f"{line}\n" for line in head) + "".join(loose) + "".join(tables[:split])
    before += "".join(f"{line}\n" for line in draw(lists(_TOML_LINE, max_size=2)))
    after = "".join(f"{line}\n" for line in draw(lists(_TOML_LINE, max_size=2)))
    after += "".join(tables[split:])
    entry = _toml_table(draw, draw(entries("http_headers")))
    if after:
        after = "\n" + after
    texts = (one.replace("\n", newline) for one in (before, entry, after))
    return Document(*texts)


def _toml_table(draw: st.DrawFn, fields: dict[str, object]) -> str:
    indent = draw(sampled_from(["", "  "]))
    lines = [f"{indent}[ mcp_servers . it ]" if draw(booleans()) else f"{indent}[mcp_servers.it]"]
    tables: list[str] = []
    for key, value in fields.items():
        gap = draw(lists(_TOML_LINE, max_size=1))
        if isinstance(value, dict) and value and key in ("env", "http_headers"):
            form = draw(sampled_from(["inline", "table", "dotted"]))
            pairs = [(_toml_key(k), _toml(draw, v)) for k, v in value.items()]
            if form == "table":
                tables += [*gap, f"{indent}[mcp_servers.it.{key}]"]
                tables += [f"{indent}{k} = {v}" for k, v in pairs]
                continue
            if form == "dotted" and key == "env":
                lines += [f"{indent}{key}.{k} = {v}" for k, v in pairs]
                continue
        end = draw(sampled_from(["", " # tail", "  "]))
        equals = draw(sampled_from(["=", " = "]))
        lines += [*gap, f"{indent}{_toml_key(key)}{equals}{_toml(draw, value)}{end}"]
    return "\n".join((*lines, *tables))


def _toml_key(key: str) -> str:
    plain = key.replace("-", "").replace("_", "").isalnum() and key.isascii()
    return key if plain else json.dumps(key, ensure_ascii=False)


def _toml(draw: st.DrawFn, value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml_key(k)} = {_toml(draw, v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        space = draw(sampled_from(["", " ", "\n  ", " # c\n "]))
        tail = draw(sampled_from(["", ","])) if value else ""
        items = ",".join(f"{_toml(draw, v)}{space}" for v in value)
        return f"[{space}{items}{tail}{space}]"
    if isinstance(value, str):
        if "'" not in value and draw(booleans()):
            return f"'{value}'"
        return json.dumps(value, ensure_ascii=False)
    return "0" if value is None else json.dumps(value)


@st.composite
def yaml_documents(draw: st.DrawFn) -> Document:
    """YAML: the entry as a block or in braces, between others."""
    newline = draw(sampled_from(["\n", "\r\n"]))
    step = draw(sampled_from(["  ", "    "]))
    before = draw(sampled_from(["", "---\n", "# mine\n", "other: |\n  mcpServers:\n    it: x\n"]))
    before += "mcpServers:\n" + draw(
        sampled_from(["", f"{step}# é\n", f"{step}a: {{command: srv}}\n"])
    )
    before += f"{step}it:"
    fields = draw(entries())
    if draw(booleans()):
        before, entry = before + " ", _yaml_flow(draw, fields)
    else:
        inner = step * 2
        lines = _yaml_block(draw, fields, inner)
        before += f"{draw(sampled_from(['', ' # c']))}\n{inner}"
        entry = "\n".join(lines).removeprefix(inner)
    last = sampled_from(["", f"{step}# it\n", f"{step}z: {{url: 'https://y.test'}}\n"])
    after = "\n" + draw(last)
    after += draw(sampled_from(["", "tail: [1, 0o7, yes, ~]\n", "# end"]))
    if draw(booleans()):
        after = after.rstrip("\n")
    return Document(*(one.replace("\n", newline) for one in (before, entry, after)))


def _yaml_block(draw: st.DrawFn, fields: dict[str, object], indent: str) -> list[str]:
    lines = []
    for key, value in fields.items():
        if isinstance(value, list) and value and draw(booleans()):
            deeper = indent + draw(sampled_from(["", "  "]))
            lines.append(f"{indent}{key}:")
            lines += [f"{deeper}- {_yaml_flow(draw, one)}" for one in value]
        elif isinstance(value, dict) and value and draw(booleans()):
            lines.append(f"{indent}{key}:")
            lines += [f"{indent}  {_yaml_key(k)}: {_yaml_flow(draw, v)}" for k, v in value.items()]
        else:
            tail = draw(sampled_from(["", " # tail"]))
            lines.append(f"{indent}{_yaml_key(key)}: {_yaml_flow(draw, value)}{tail}")
    return lines


def _yaml_key(key: str) -> str:
    return key if key.isidentifier() and key.isascii() else json.dumps(key, ensure_ascii=False)


def _yaml_flow(draw: st.DrawFn, value: object) -> str:
    if isinstance(value, dict):
        members = [f"{_yaml_key(k)}: {_yaml_flow(draw, v)}" for k, v in value.items()]
        return "{" + ", ".join(members) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_yaml_flow(draw, one) for one in value) + "]"
    if isinstance(value, str):
        if value.isalpha() and value.isascii() and draw(booleans()):
            return value
        if draw(booleans()) and value.isprintable():
            return "'" + value.replace("'", "''") + "'"
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value)
