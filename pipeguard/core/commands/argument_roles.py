"""What an argument is for: it acts, or it is only written, said or looked for.

A command that stands in a file's content, a message or a question is no command. Who names the
arguments is the server, so only names that leave no doubt make a text harmless, and none does
where the tool is one that executes. Knows words in names, and no values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache

from pipeguard.core.protocol.json_values import JsonValue
from pipeguard.core.protocol.places import Path


def listed(text: str) -> frozenset[str]:
    """The words of a list that is written as one text."""
    return frozenset(text.split())


class ArgumentRole(Enum):
    """What an argument is for."""

    COMMAND = "command"  # a command line, or a script of them
    CODE = "code"  # a program in some language
    STATEMENT = "statement"  # of a database
    VALUE = "value"  # anything else that a tool acts on
    KEPT = "kept"  # a value in a record or a document that a tool keeps
    PARSED = "parsed"  # text that the tool itself reads: a template, a document with rules
    WRITTEN = "written"  # content or message: text that somebody reads
    ASKED = "asked"  # question or pattern: text that is looked for

    __hash__ = object.__hash__


_COMMAND = listed(
    "command commands cmd cmds cmdline commandline shell bash sh exec execute run argv args "
    "arguments arg script scripts entrypoint powershell terminal stdin keys keystrokes"
)
_CODE = listed("code program snippet function func lambda js javascript python")
_SCRIPT = listed("script scripts")
_FORMULA = listed("expression expr formula equation calculation")
_TAKES_CODE = listed(
    "code python node javascript js typescript ts java ruby php go rust script notebook sandbox "
    "browser page playwright puppeteer function lambda program cell snippet colab jupyter kernel"
)
# Tools that look at a program and do not run it.
_LOOKS_AT_CODE = listed(
    "lint format review refactor explain analyze highlight minify parse prettify codemod diff "
    "beautify transpile check"
)
_STATEMENT = listed("sql statement statements cypher sparql gql hql ddl dml")
# Text for a reader, in whatever tool.
_ALWAYS_WRITTEN = listed(
    "description title subject summary reason explanation thought thoughts comment comments note "
    "notes message messages caption headline justification rationale purpose question answer "
    "feedback instructions objective goal prompt task todo todos fact facts observations"
)
# Text for a reader unless the tool executes what it is given.
_WRITTEN = listed(
    "content contents text texts body html markdown md document doc paragraph source data patch "
    "diff edits replacement reply post story prose blocks children cell cells "
    "values rows old_string new_string old_str new_str oldtext newtext old_text new_text file_text "
    "insert_text oldstring newstring oldstr newstr"
)
# Text for a reader, where the tool is one that reads or remembers.
_READ_THERE = listed("input inputs value values string sentence chunk chunks passage observation")
_READS = listed(
    "embed embedding translate summarize summarise classify tokenize moderate detect sentiment "
    "speak tts say memory remember memorize note notes annotate log journal index proofread "
    "rewrite paraphrase"
)
# Tools that make something of the text that they are given, by what it says.
_OF_CODE = listed("code source snippet")
_RENDERS = listed("render template templates preview report format")
_PARSES = listed(
    "parse load deserialize unserialize restore import render template templates preview transform "
    "validate soap xslt xml yaml unpickle decode unmarshal svg convert compile interpolate report "
    "generate format state merge"
)
# What such a tool is given as an object, or in a list, it keeps or passes on as it is.
_KEEPS = listed(
    "write create update insert append add save store send post put edit push upsert import "
    "publish apply deploy register submit file record log report build generate configure patch "
    "merge index document draft compose notify track sync define"
)
_LOOKED_FOR = listed("query q search find pattern regex regexp term terms keyword keywords")
_EXECUTES = listed(
    "run exec execute executes shell bash sh zsh cmd command commands powershell pwsh terminal "
    "console process subprocess spawn ssh eval evaluate repl interpreter tty tmux system "
    "cli invoke launch"
)
_DATABASE = listed(
    "sql db database query queries postgres postgresql mysql mariadb sqlite mongo mongodb redis "
    "bigquery snowflake clickhouse duckdb oracle mssql neo4j cypher migration migrate statement "
    "supabase planetscale dynamodb cassandra elastic elasticsearch table tables record records "
    "user users order orders customer customers account accounts product products item items "
    "login row rows employee employees member members directory ldap contact contacts person people"
)
_READS_TEXT = listed("web internet code docs documentation wiki grep issues logs news")

NAME_CHARS = 128  # of a tool's or an argument's name, which say what it is for
MANY_STRINGS = 24  # of one call: a document, or rows, in which each string says little

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def role(tool: str | None, path: Path, *, among: int = 0) -> ArgumentRole:
    """What the argument at a path is for.

    Args:
        tool: whose argument it is; None for a prompt's, or where it is not known.
        path: from anywhere above the arguments down.
        among: how many strings the arguments have.
    """
    if path[:2] == ("params", "arguments"):
        path = path[2:]
    names = tuple(step for step in path if isinstance(step, str))
    near = tuple([name[:NAME_CHARS] for name in names[-4:]])
    found = _role((tool or "")[:NAME_CHARS], near)
    if found is ArgumentRole.VALUE and len(names) > 1:
        if among > MANY_STRINGS:
            return ArgumentRole.WRITTEN
        if _words(tool or "") & _KEEPS:
            return ArgumentRole.KEPT
    return found


def is_shell(tool: str | None) -> bool:
    """True where a tool's programs are scripts of a shell."""
    return bool(_words(tool or "") & _SHELLS)


def is_of_database(tool: str | None) -> bool:
    """True where a tool speaks to a database, so that a statement is no surprise."""
    return bool(_words(tool or "") & _DATABASE)


def writes(tool: str | None, key: str) -> bool:
    """True where a path in an argument is one that the tool writes to."""
    tokens = _words(tool or "")
    if key.lower() in _TARGETS:
        return True
    return bool(tokens & _WRITES) and key.lower() not in _SOURCES


def writes_file(tool: str | None, paths: Iterable[Path]) -> bool:
    """True where a call writes a file: by what its tool is called, or by an argument for a path."""
    names = (step for path in paths for step in path if isinstance(step, str))
    return bool(_words(tool or "") & _OF_FILES) or any(_words(name) & _FILE for name in names)


_OF_FILES = listed("file files patch edit notebook code repo commit")
_FILE = listed("path paths file filename filepath filenames")
_SHELLS = listed("shell bash sh zsh powershell pwsh cmd terminal console command")
_TARGETS = listed("destination dest target to output out output_path outfile new_path")
_SOURCES = listed("source src from old_path input")
_WRITES = listed(
    "write edit create append save move copy put patch replace insert update modify rename touch "
    "overwrite apply store download delete remove unlink rm export"
)


@lru_cache(maxsize=2048)  # the same tools with the same arguments, all day
def _role(tool: str, names: tuple[str, ...]) -> ArgumentRole:
    tokens = _words(tool)
    executes = bool(tokens & _EXECUTES)
    for name in reversed(names):  # the nearest name that says something
        said = _said(name, tokens, executes=executes)
        if said is not None:
            return said
    return ArgumentRole.COMMAND if executes and not tokens & _DATABASE else ArgumentRole.VALUE


def _said(  # noqa: PLR0911  a table of names, each with its own exception
    name: str, tool: frozenset[str], *, executes: bool
) -> ArgumentRole | None:
    parts = [word.lower() for word in _WORD.findall(name[:64])]
    last = parts[-1] if parts else ""
    either = {last, name.lower()}
    if either & _STATEMENT:
        return ArgumentRole.STATEMENT
    if either & _COMMAND:
        is_code = last in _SCRIPT and tool & _TAKES_CODE and not tool & _SHELLS
        return ArgumentRole.CODE if is_code else ArgumentRole.COMMAND
    if either & _FORMULA:
        return ArgumentRole.VALUE
    if either & _CODE:
        if tool & _LOOKS_AT_CODE and not executes:
            return ArgumentRole.WRITTEN
        return ArgumentRole.CODE if executes or tool & _TAKES_CODE else ArgumentRole.VALUE
    if either & _ALWAYS_WRITTEN:
        return ArgumentRole.PARSED if tool & _RENDERS else ArgumentRole.WRITTEN
    if either & _WRITTEN:
        if executes:
            return ArgumentRole.COMMAND
        return (
            ArgumentRole.PARSED if tool & _PARSES and not tool & _OF_CODE else ArgumentRole.WRITTEN
        )
    if either & _READ_THERE and tool & _READS:
        return ArgumentRole.WRITTEN
    if either & _LOOKED_FOR:
        if tool & _READS_TEXT or not (tool & _DATABASE or executes):
            return ArgumentRole.ASKED
        return ArgumentRole.STATEMENT
    return None


def _words(name: str) -> frozenset[str]:
    return _words_of(name[:NAME_CHARS])  # what is beyond is not to be remembered


@lru_cache(maxsize=512)
def _words_of(name: str) -> frozenset[str]:
    return frozenset(word.lower() for word in _WORD.findall(name))


def called_tool(value: JsonValue) -> str | None:
    """The tool that a message calls."""
    params = value.get("params") if isinstance(value, dict) else None
    name = params.get("name") if isinstance(params, dict) else None
    return name if isinstance(name, str) else None
