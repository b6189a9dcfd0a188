r"""PipeGuard's own files, programs and variables in a command, a program or a call.

An agent that could change what PipeGuard allows, trusts or records could open everything else. Two
questions decide: does the text name something of PipeGuard's, and is every program, function or
tool in it known to do nothing but read? If it does, and one of them is not, the text counts as a
change. A command is a line, as in detect.commands.interpret, with `/` for each backslash and FILE
for each of PipeGuard's files; `\x1f` is a blank within a word. Expressions ignore case.
"""

import re
from collections.abc import Sequence

from pipeguard.detect.commands import OWN_NAMES, file_access, path_normalisation
from pipeguard.detect.words import arguments
from pipeguard.detect.words import own as lists
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.unicode.name_words import name_words

MAX_PATH = 120  # characters of a folder, from its end, and of a name
FILE = "\ue100"  # in place of one of our files


def _compile(pattern: str) -> re.Pattern[str]:
    return lazy_regex(pattern, re.IGNORECASE | re.MULTILINE | re.VERBOSE)


# -- does it name something of PipeGuard's? --------------------------------------------------------

# Signs that a text may do so. Of several searches on a line, only the first is tried: whatever
# follows a later one follows it, too, and trying each would take quadratic time.
_SIGNS = _compile(
    r"""pipe[^a-z]{0,12}guard | xdg_\w{4,6}_home | (?:\.\w{0,6}|\bp\w{0,8})[*?\[]
    | [*?\]][\w/]{0,8}guard\b | /[*?]+/policy
    | ^[^f\n]*(?:f(?!(?<=\bf)(?:ind|d|dfind)\b)[^f\n]*)*
      \b(?:find|fd|fdfind)\b.*(?:pipe|guard|\.ya?ml|\.db|policy)"""
)

# Folders above ours.
_PARENTS = r"""(?:
    \.config | \.local/(?:state|share) | \.cache
    | (?:\$\{?)?xdg_(?:config|state|data|cache)_home\}?
    | library/(?:application[\x1f_\x20]support|caches|preferences|logs)
    | (?:\$env:|\$\{?|%)?(?:local)?appdata[%}]?(?:/(?:local|roaming))?
)"""

# Our folders, installed packages, store, and the policy of a project, also by a pattern.
_FILES = _compile(
    rf"""{_PARENTS}(?:/+|(?:(?<=appdata)|(?<=roaming))\s+)pipeguard(?![\w.-])
    | {_PARENTS}/+(?=[^\s/]*[a-z])(?=[^\s/]*[*?\[])[pigeudar*?\[\]]+(?![\w.-])
    | (?<=/)\.[^\s]{{0,20}}[*?\[][^\s]{{0,60}}/pipeguard(?![\w.-])
    | (?<=[*?])/pipe[*?]\S* | (?<=[*?])/policy\.yaml
    | (?:(?:site|dist)-packages|uv/tools|pipx/venvs)/(?:mcp[-_])?pipeguard
    | \bpipeguard\.db\b | (?<![\w-])\.pipeguard\.ya?ml\b
    | \buser_\w+_(?:dir|path)\(\W{{0,3}}pipeguard
    # The folder above ours is mounted.
    | (?<=[=,:\x20])(?:~|/root|/(?:home|users)/[^/\s:,]+)
      /\.(?:config|local(?:/(?:state|share))?)(?=:/|,)"""
)

# Our program by its path.
_PROGRAM = r"""(?:
    (?:\bs?bin|scripts)/pipeguard(?:\.exe)?(?![\w-])
    | \$\((?:which|whereis|command\s-v|type\s-p)\s(?:-\w+\s)*pipeguard\)
)"""

# Our program, run as itself, as a module or as a package.
_OURS = rf"""(?:
    (?:(?:python[\d.]*|py)\s(?:-\S+\s)*?(?:-m\s)?
    | (?:uvx|npx|bunx|pipx\srun|(?:uv\s|uv\stool\s|poetry\s|pdm\s|hatch\s|conda\s)run
      |npm\sexec|pnpm\sdlx)\s(?:\S+\s){{0,8}}?)?
    (?:\S*/)?(?:{_PROGRAM}|(?:mcp-)?pipeguard)(?:\.exe|\.__main__|[=\[]\S*)?
)"""

# Its commands that change nothing that it decides by.
_READING = r"""(?:
    status|explain|diff|doctor|assess|scan|rules|demo|help|completion|top|logs|audit|tools|wrap|serve
    | policy\s(?:check|example|init|path|show) | setup\b(?!.*--undo)
    | (?:servers|isolate|tokens|secrets|auth)\s(?:list|show|status)
    | \S.*(?<!\S)(?:--help|-h)(?!\S) | --help | -h | --version | -V
)"""

# Its other commands, wherever they are given.
_CHANGING = r"""(?:
    (?<![\w.-])(?:mcp-)?pipeguard(?:\.exe|\.__main__)?['\",]{0,2}(?:[\s,]+--?[a-z-]+)*[\s,\[/]+['\"]?
    (?:allow|approve|reject|forget|uninstall|setup\b.{0,80}--undo
      |(?:servers|tokens|secrets|isolate)['\",\s]+
       (?:approve|reject|accept|forget|update|create|rotate|reset|revoke|set|delete)
      |policy['\",\s]+ci-token)
    (?![\w/.-])
)"""

# Its variables, and those by which it finds its folders, unless they get their usual value.
_VARIABLE = r"""(?:
    (?<![\w${])pipeguard_(?:policy|state_dir|cache_dir|approval_token|ci|native|databases)\b
    | (?<![\w${])xdg_(?:config|state|data|cache)_home\b
      (?!=['\"]?(?:~|\$home|\$\{home\})/\.(?:config|cache|local/(?:state|share))\b)
      (?!\W{0,3}/?pipeguard)
)"""

# Programs that start an agent.
_AGENTS = f"(?:{lists.alternatives('AGENTS')})"

_PACKAGE_MANAGERS = (
    r"pip[\d.]*|pipx|uv|conda|mamba|brew|apt|apt-get|dpkg|dnf|yum|rpm|pacman|apk|snap"
    "|npm|pnpm|yarn|poetry|pdm"
)

# A search, below a folder above ours, for names that ours fit.
_SEARCH = r"""(?:
    \b(?:find|fd|fdfind|ls|du|tree|cd)\b
    (?=[^|\n]*\s(?:~|/|/root|/home(?:/[^/\s]+)?|/users/[^/\s]+)
       (?:/\.(?:config|local(?:/(?:state|share))?))?(?:[\s)]|$))
    .*(?<![\w/.])
    (?:\*?/?(?:pipe(?:g(?:u(?:ar?)?)?)?|(?:pi?p?e)?guard|pipeguard)(?![a-z])
      |\*?\.ya?ml\b|policy\.y[\w*?]*|\*?\.db\b)
)"""

_POWERSHELL = r"(?:(?:powershell|pwsh|cmd)(?:\.exe)?(?:\s+[-/]\w+)*\s)"

# A line that names something of PipeGuard's.
_NAMES = _compile(
    rf"""{FILE} | {_PROGRAM}
    | ^{_OURS}\s(?!{_READING}(?![\w-]))(?:[^\s|<>]|$)
    | \b(?:xargs|parallel)\b.*\bpipeguard(?!\s{_READING})
    | ^alias\s\S+=(?:\S*/)?pipeguard(?!\s{_READING})
    | {_CHANGING}
    # A module of it that reads or writes files.
    | \bpipeguard\.(?:cli|state|config|clients|runtime|gateway|auth|ui|launch|isolation|__main__)\b
    | \b(?:run_module|run_path|import_module|__import__)\(\W{{0,3}}pipeguard\b
    | \bfrom\x20pipeguard\x20import\x20(?!__version__)
    # Its package, or a process.
    | ^(?:python[\d.]*\s-m\s)?(?:{_PACKAGE_MANAGERS}|nix\S*|port|choco|winget|scoop)\s
      (?!(?:tool\s)?run\b|exec\b|dlx\b)
      .*(?:(?<![\w./-])pipeguard(?![\w/-])|(?<![\w-])mcp[-_]pipeguard)
    | ^{_POWERSHELL}?(?:pkill|killall|kill|taskkill|stop-process|systemctl|service|launchctl)\s
      .*pipeguard
    # A search from a folder above.
    | {_SEARCH}
    | \b(?:locate|mdfind|plocate)\s.*pipeguard
    | {_PARENTS}/?['\"]?\s.*(?:(?<![\w.-])pipeguard/|(?<![\w.-])policy\.ya?ml\b)
    # A variable for later processes, or for an agent.
    | (?:environ|env|putenv)\W{{0,6}}{_VARIABLE}(?=[\s\S]{{0,500}}\b{_AGENTS}\b)
    | ^(?=.*{_VARIABLE}=)(?:env\s(?:-\S+\s)*)?(?>(?:\w+=\S*(?:\s|$)){{1,100}})
      (?:$|(?:.*[\s/])?{_AGENTS}\b)
    # Of all lines before the next pipe, only the first is tried, as above.
    | (?:\A|\|[^|\n]*\n)(?:
      (?>(?:(?!export\s)[^|\n]*\n)*)export\s[^|]*{_VARIABLE}(?!=)
      | (?>(?:(?=(?:env\s|sudo\s)?\w+=)[^|\n]*\n)*)(?!(?:env\s|sudo\s)?\w+=)
        [^|]*{_VARIABLE}(?=['\"\]]?\s?[=,:\s]\s?\S)
    )"""
)

# A tool, and a name on which it acts: a variable of ours, or our package or process.
_BY_NAME = _compile(
    rf"""\n{_VARIABLE}$
    | (?:install|upgrade|downgrade|package|pip|pipx|uv|npm|kill|terminate|stop|process|service)\S*
      (?:\x20.*)?\n(?:mcp[-_])?pipeguard(?:[=<>~\[!\x20].*)?$"""
)

# A word that names one.
_WORD = _compile(rf"(?:\x20|^)[^\x20\x1f]*{FILE}[^\x20\x1f]*(?:\x20|$)")

# A part of a line that may be a path.
_PATH = _compile(
    r"""(?<![^\s=:,'\"(|<>])(?!-|(?<![^\n])\.\s)
    (?=[^\s=:,'\"()|<>]{0,200}(?:[./~*]|guard))[^\s=:,'\"()|<>]+"""
)

# The joint between two texts of a program, which may be steps of a path.
STEPS = _compile(r"""['\"`][\s,)(+/\]\[]*[rbf]?['\"`]""")

# A word of prose, which no path has, or an address.
_PROSE = _compile(r"\Ahttps?:// | (?:^|\s)[\w']+[.,?!:]?(?=\s) | \s[\w']+[.,?!:]?(?=\s|$)")

# -- does a command only read? -------------------------------------------------------------------

_SHELL = "(?:sh|bash|zsh|dash|ksh|fish)"

# Files from which all later processes have their variables.
_STARTUP = r"""(?:
    environment\.d/ | /etc/environment | \.pam_environment | profile\.d/
    | fish/conf\.d/ | config\.fish | launch(?:agents|daemons)/ | systemd/(?:user|system)/
    | \.(?:bash|zsh|ksh|csh|tcsh)(?:rc|env|_profile|_login|_aliases)
    | \.(?:z?profile|login|xsessionrc|envrc)\b
)"""

# Text in a line that names no file, behind what stays: a script of a shell, which is judged by
# itself, what is looked for, a message, a text for a person as input; last a replacement by `sed`
# or Perl.
_TEXTS = _compile(
    rf"""(\b{_SHELL}(?:\x20-\w+)*\x20-\w*c\x20)[^\x20]+
    | (^(?!sed\b.*{_STARTUP})(?:[efz]?grep|rg|ag|ack|git\sgrep|g?awk|sed)(?:\s-[^\x20]+)*\s)
      (?![^\x20]*(?:[w>]\x1f*[^\x20]*{FILE}|(?<![^\x20\x1f/;$])\d*e\s))[^\x20]+
    | (\s(?:-m|-am|-b|-t|-S|-G
         |--(?:message|title|body|notes|description|comment|subject|grep))[\x20=])
      [^\x20]*\x1f[^\x20]*
    | (^(?:{_SHELL}|python[\d.]*|node|ruby|perl|php|lua)\b.*?<<<\x20).*
    | (^(?:gh|glab|hub|mailx?|mutt|sendmail|curl|https?|xh|llm)\b.*?<<<\x20)[^\x20]*\x1f[^\x20]*
    | (?:^|(?<=[\s'\"]))s([#|!,/])(?:(?!\6)[^\n\x20]){{0,300}}
      \6(?:(?!\6)[^\n\x20]){{0,300}}\6[gimp\d]*(?=[\s'\"]|$)"""
)

# Programs known only to read, as a line begins with them.
_READERS = rf"""(?:
    {lists.alternatives("READERS")} | \[\[? | [:!{{}}] | sha\d*sum | format-\w+ | convertfrom-\w+
    # Unless an option or an operand makes them do more.
    | less(?!.*\s\+) | read(?!.*<<<.*{FILE}) | gio(?=\s(?:info|list|cat)\b)
    | date(?!.*\s-s|.*--set) | sort(?!.*\s-\w*o|.*--output|.*--compress) | tree(?!.*\s-o)
    | uniq(?!.*\S\s\S*{FILE}) | xxd(?!.*-\w*r|.*\S\s+\S*{FILE}) | base64(?!.*\s-o)
    | rg(?!.*--pre) | fd(?!.*\s(?:-\w*[xX]|--exec))
    | find(?!.*\s-(?:delete|fprint|fls|ok
        |exec(?:dir)?\s(?!(?:cat|head|tail|ls|grep|wc|stat|file|md5sum|sha\d+sum|echo)\s)))
    | sed(?!.*\s-\w*i|.*--in-place|.*w\x1f*[^\x20]*{FILE}|.*\s\d*e\s)
    | g?awk(?!.*[>|]|.*system|.*\s-i) | yq(?!.*\s-\w*i|.*--in)
    | tee(?![^<]*(?:{FILE}|{_STARTUP})) | exec(?=\x20[\d<]) | (?:gzip|gunzip)(?=.*\s-\w*[ckl])
    # Copies and archives of ours elsewhere.
    | (?:cp|scp|rsync|copy-item)(?!.*\{{\}}|.*\s-\w*[lst]\b|.*--(?:link|symb|targ|remove|delete)
        |.*-dest\S*\s\S*{FILE}|.*{FILE}\S*(?:\s-\S+)*$|.*{_PROGRAM})
    | cp(?=\s(?:-t\s|--target-directory=)(?!\S*{FILE})\S+\s)(?!.*\s-\w*[ls]\b|.*{_PROGRAM})
    | dd(?!.*\bof=\S*{FILE}) | zip(?!.*\s-\w*m|.*--move|\s(?:-\S+\s)*\S*{FILE})
    | (?:bsd)?tar(?!.*\s-\w*x|\s\w*x\w*\s|.*--(?:extract|get|remove|to-com|checkp|use-comp)
        |.*\s-?\w*f\w*\s?\S*{FILE}|.*--file=?\S*{FILE})
      (?=.*\s-?\w*[ct]\w*\s|.*--create|.*--list)
    # Only with a command that reads.
    | git(?=(?:\s-C\s\S+|\s--no-pager|\s-P)*
        \s(?:log|show|diff|status|blame|grep|ls-files|add|commit|push|check-ignore|rev-parse)\b)
      (?!.*--output|.*--ext-diff|.*--textconv|.*\s-\w*O)
    | sqlite3(?=(?:\s-\w+)*\s\S*{FILE}\S*(?:\s<<<)?\s
        ['\"]?(?:select|explain|with|pragma\s\w+;?$|\.(?:tables|schema|dump|indexes|databases|stats)))
      (?!.*\b(?:into|attach|writefile|load_extension|edit)\b
        |.*;\s*(?!select)[a-z]|.*\s-(?:cmd|init)|.*\n\.)
    | {_OURS}\s{_READING}(?![\w-])
    | (?:python[\d.]*\s-m\s)?(?:{_PACKAGE_MANAGERS}|nix|systemctl|service|launchctl)\s(?:.*\s)?
      (?:show|list|index|download|info|search|freeze|tree|view|why|outdated|check|getenv|status
        |is-active|is-enabled|cat)\b
    | (?:python[\d.]*\s-m\s)?(?:pip[\d.]*|pipx|uv\stool|brew|apt|apt-get)\sinstall\s
      (?:-q\s|--quiet\s|--user\s)*(?:mcp-)?pipeguard$
    # What a program is given as a script is judged by itself.
    | (?:perl|ruby)(?=\x20-l?ne\x20(?:print|puts)\b[^;(`>|]*$)
    | (?:{_SHELL}|python[\d.]*|node|ruby|perl|php|lua|deno|bun|osascript)
      (?=\x20(?:[^\x20]+\x20)*?(?:-\w*[cer]|eval)\x20[^\x20]*$)
    | (?:{_SHELL}|python[\d.]*|node)(?=(?:\x20-)?(?:\x20<<<.*)?$)
    | ssh(?=\x20[^\x20]+\x20[^\x20]+$) | eval
)"""

# A line of one of these that writes none of ours.
_READS = _compile(
    rf"""\s*{_POWERSHELL}?(?={_READERS}(?!\S))
    # In each word, only the first `>` is tried, and one at its end.
    (?!(?:[^\x20\n]*\x20)*?(?:[^\x20\n>]*>|[^\x20\n]*>\x20)[^\x20]*
      (?:{FILE}|{_PROGRAM}|{_STARTUP}))"""
)

# -- does a program, a statement or a tool only read? --------------------------------------------

# A literal of a program.
_STRING = r"""[rbf]?(?:'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\")"""

# What a program uses: nothing for a plain text, and a call with nothing but such; a name that it
# calls.
_USES = _compile(
    rf"""^!(?:cat|ls|head|tail|grep|stat|wc)\b(?!.*[>|;&]).*
    | \b(?:os|shutil|fs|subprocess)\.(?!chdir)\w+\(
      (?![^)\n]{{0,200}}(?:pipe|guard|policy|\b{_AGENTS}\b))(?:{_STRING}[,\s]*)+\)
    | \.replace\([\"'][^\"'\n]*[\"'],\s*[\"'][^\"'\n]*[\"']\)
    | \bstd(?:out|err)\.write\( | \.execute\w*\(\s*(?=[\"']+\s*select\b)
    | {_STRING}
    | (^!|(?<=\.)[a-z_]\w*|(?<=import\x20)\w+|\b[a-z_]\w*(?=!?\s*\()
      |\b[a-z_]\w*(?=[\x20\t]+[\"'$]))"""
)

# A function that it makes itself.
_MAKES = _compile(r"\b(?:def|fn|func|function|sub)\s+(\w+)")

# What it does that is more than to read or compute.
_WRITES = _compile(
    r"""(?:^|\n)\s*% | [>|]\s*[\"'(]
    | \bopen\b[^)\n]{0,300}[,(]\s*(?:mode\s*=\s*)?[\"'](?:[wax+>]|r\+)
    | \bopen\((?:[^()\n]|\([^()\n]{0,100}\)){0,100},\s*
      (?!encoding|errors|newline|mode\s*=\s*["']r)[a-z_]
    | \bO_(?:WRONLY|RDWR|TRUNC|CREAT|APPEND)"""
)

# A file that a statement of SQL reads or writes.
_OPENS = _compile(
    rf"""(?:\b(?:attach|into|to|database|outfile|dumpfile|filename|location)\s*=?\s*
      |\b(?!values\b|in\b|like\b)\w+\s*\(\s*)['\"][^'\"]*{FILE}"""
)

# A statement, as a line, and one that does not only read.
_IS_STATEMENT = _compile(r"SQL\s")
_CHANGES_DATA = _compile(r"SQL\s(?:ALL\s)?(?!select|explain|with|show|desc)\w")

# Names of tools that do what an argument says.
_EDITORS = _compile("str_replace_(?:based_edit_tool|editor)")


def may_name(text: str) -> bool:
    """False for a text that names none of ours."""
    return _SIGNS.search(text) is not None or any(name in text for name in [*OWN_NAMES])


def mark_files(text: str) -> str:
    """Replace each of our files in a text by FILE."""
    text = re.sub(r"/[^/\s]{1,80}/\.\.(?=/)", "", text.replace("\\", "/"))
    if may_name(text):
        for name in [*OWN_NAMES]:
            text = re.sub(rf"(?<![\w./-]){re.escape(name)}(?![\w.-])", FILE, text)
    return _FILES.sub(FILE, text)


def commands_change_ours(
    lines: Sequence[str], raw: Sequence[str], files: file_access.FileAccess
) -> bool:
    """True if a pipeline names one of ours, unless all its commands are known only to read.

    Args:
        lines: its commands with their input, without programs that only run them.
        raw: its commands as written, after their variables.
        files: the script's, with its current folder.
    """
    folder = f"{files.folder[-MAX_PATH:]}/"
    if not may_name(" | ".join((folder, *raw, *lines))):
        return False

    def mark_paths(line: str) -> str:
        resolved = _PATH.sub(lambda path: files.resolve(path[0]), line)
        return _remove_texts(mark_files(resolved))

    read = [mark_paths(line) for line in lines]
    written = [mark_paths(line) for line in raw if line not in lines]
    whole = " | ".join((mark_files(folder), *written, *read))
    is_hidden = any(map(_WORD.search, written)) and FILE not in "".join(read)
    is_reading = bool(read) and not is_hidden and all(map(_READS.match, read))
    return not is_reading and any(map(_NAMES.search, (*read, *written, whole)))


def _remove_texts(line: str) -> str:
    return _TEXTS.sub(r"\1\2\3\4\5", line)


def code_changes_ours(text: str, folder: str) -> bool:
    """True if a program, run in a folder, names one of ours, unless it is known only to read."""
    text = f"'{folder}'\n{text}"
    if not may_name(text):
        return False
    plain = _remove_texts(text.replace("\\", "/"))
    if not _NAMES.search(mark_files(f"{plain}\n{STEPS.sub('/', plain)}")):
        return False
    used = {name.lower() for name in _USES.findall(text)}
    made = {name.lower() for name in _MAKES.findall(text)}
    return not used - made <= lists.READING_CALLS | {""} or _WRITES.search(text) is not None


def call_changes_ours(tool: str, named: Sequence[tuple[str, str]], lines: Sequence[str]) -> bool:
    """True if a call names one of ours, unless its tool is known only to look.

    Args:
        tool: its name, and what it does by an argument.
        named: the values that the tool acts on, each with its name.
        lines: of its arguments.
    """
    words = {*name_words(_EDITORS.sub("", tool))}
    is_named = _call_names_ours(words, named, lines)
    outputs = [mark_files(value) for name, value in named if name in arguments.TARGETS]
    is_writing = words & arguments.CHANGES_OURS or FILE in "".join(outputs)
    if words & arguments.LOOKS_AT_OURS and not is_writing:
        return is_named and any(map(_CHANGES_DATA.match, lines))
    texts = {text[:MAX_PATH] for pair in named for text in pair}
    return is_named or any(_BY_NAME.search(f"{tool}\n{text}") for text in texts)


def _call_names_ours(
    words: set[str], named: Sequence[tuple[str, str]], lines: Sequence[str]
) -> bool:
    """True if a path or a statement among a call's values names one of ours."""
    sources = arguments.SOURCES if words & arguments.COPIES else frozenset[str]()
    values = [mark_files(value) for name, value in named if name not in sources]
    if any(map(_IS_STATEMENT.match, lines)) and any(map(_OPENS.search, values)):
        return True
    paths = [value for value in values if not _PROSE.search(value)]
    paths += [line.partition(" ")[2] for line in lines if line[0] in ">O"]
    joined = "/".join(paths * 2)[: 30 * MAX_PATH]
    paths += [joined, *(line[2:] for line in path_normalisation.path_lines(joined, joined, (">",)))]
    if any(FILE in mark_files(f"\n{path}") for path in paths):
        return True
    return _NAMES.search(" ".join(["in", *paths]).replace("\n", " ")) is not None
