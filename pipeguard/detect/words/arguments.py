"""Words in the names of arguments, and of the tools that take them, by what an argument is for.

Used by detect.commands.argument_roles, which compares the last word of a name and the whole name.
The server chooses the names, so only names that leave no doubt make a text harmless.
"""

from __future__ import annotations

from pipeguard.detect.words.notation import word_set

# -- arguments -----------------------------------------------------------------------------------

# A command line, or a script of them.
COMMAND = word_set(
    "command commands cmd cmds cmdline commandline shell bash sh exec execute run argv args "
    "arguments arg script scripts entrypoint powershell terminal stdin keys keystrokes"
)
# Of these, a program where the tool takes programs.
SCRIPT = word_set("script scripts")
# A program in some language, where the tool runs or takes one.
CODE = word_set("code program snippet function func lambda js javascript python")
FORMULA = word_set("expression expr formula equation calculation")
STATEMENT = word_set("sql statement statements cypher sparql gql hql ddl dml")
# Text for a reader, in whatever tool.
ALWAYS_WRITTEN = word_set(
    "description title subject summary reason explanation thought thoughts comment comments note "
    "notes message messages caption headline justification rationale purpose question answer "
    "feedback instructions objective goal prompt task todo todos fact facts observations"
)
# Text for a reader unless the tool executes what it is given.
WRITTEN = word_set(
    "content contents text texts body html markdown md document doc paragraph source data patch "
    "diff edits replacement reply post story prose blocks children cell cells "
    "values rows old_string new_string old_str new_str oldtext newtext old_text new_text file_text "
    "insert_text oldstring newstring oldstr newstr"
)
# Text for a reader, where the tool is one of READS.
WRITTEN_TO_READERS = word_set("input inputs value string sentence chunk chunks passage observation")
LOOKED_FOR = word_set("query q search find pattern regex regexp term terms keyword keywords")
FILE = word_set("path paths file filename filepath filenames")
# A path under one of these is written to, by whatever tool; under the others it is only read.
TARGETS = word_set("destination dest target to output out output_path outfile new_path")
SOURCES = word_set("source src from old_path input")

# -- tools ---------------------------------------------------------------------------------------

SHELLS = word_set("shell bash sh zsh powershell pwsh cmd terminal console command")
EXECUTES = word_set(
    "run exec execute executes shell bash sh zsh cmd command commands powershell pwsh terminal "
    "console process subprocess spawn ssh eval evaluate repl interpreter tty tmux system "
    "cli invoke launch"
)
TAKES_CODE = word_set(
    "code python node javascript js typescript ts java ruby php go rust script notebook sandbox "
    "browser page playwright puppeteer function lambda program cell snippet colab jupyter kernel"
)
# These look at a program and do not run it.
LOOKS_AT_CODE = word_set(
    "lint format review refactor explain analyze highlight minify parse prettify codemod diff "
    "beautify transpile check"
)
# These read or remember a text, and do nothing else with it.
READS = word_set(
    "embed embedding translate summarize summarise classify tokenize moderate detect sentiment "
    "speak tts say memory remember memorize note notes annotate log journal index proofread "
    "rewrite paraphrase"
)
# These make something of a text by what it says.
PARSES = word_set(
    "parse load deserialize unserialize restore import render template templates preview transform "
    "validate soap xslt xml yaml unpickle decode unmarshal svg convert compile interpolate report "
    "generate format state merge"
)
# These even of a title or a note.
RENDERS = word_set("render template templates preview report format")
# Except of the content of these.
OF_CODE = word_set("code source snippet")
# What these are given as an object, or in a list, they keep or pass on as it is.
KEEPS = word_set(
    "write create update insert append add save store send post put edit push upsert import "
    "publish apply deploy register submit file record log report build generate configure patch "
    "merge index document draft compose notify track sync define"
)
# In these, what is looked for may be a statement. `neo` is for neo4j: names are split at digits.
DATABASE = word_set(
    "sql db database query queries postgres postgresql mysql mariadb sqlite mongo mongodb redis "
    "bigquery snowflake clickhouse duckdb oracle mssql neo cypher migration migrate statement "
    "supabase planetscale dynamodb cassandra elastic elasticsearch table tables record records "
    "user users order orders customer customers account accounts product products item items "
    "login row rows employee employees member members directory ldap contact contacts person people"
)
# Unless the tool searches texts.
READS_TEXT = word_set("web internet code docs documentation wiki grep issues logs news")
WRITES = word_set(
    "write edit create append save move copy put patch replace insert update modify rename touch "
    "overwrite apply store download delete remove unlink rm export"
)
OF_FILES = word_set("file files patch edit notebook code repo commit")
# Folders that are emptied, built or copied without a thought, or that others see.
SHARED_FOLDERS = word_set("static assets dist build share shared tmp temp downloads node_modules")
# Folders that are served, copied to other machines, or on one. Two words of a name count as one.
SEEN_FOLDERS = word_set(
    "public www html htdocs httpdocs wwwroot webroot inetpub ftp tftp ghpages wellknown "
    "dropbox onedrive nextcloud owncloud sharepoint icloud clouddocs cloudstorage googledrive "
    "gdrive mydrive shareddrives pcloud megasync syncthing resilio seafile yandexdisk protondrive "
    "tresorit spideroak gvfs rclone sftp sshfs webdav"
)

# -- values --------------------------------------------------------------------------------------

# In the names of amounts and options: a value of these is shared by two calls by chance. Parts of
# names; `n` is one by itself.
AMOUNTS = (
    *("limit", "page", "count", "offset", "size", "max", "min", "top", "hours", "days", "lines"),
    *("from", "until", "since", "start", "end", "date", "year", "month", "week", "amount", "price"),
    *("number_of", r"\An\Z", "format", "type", "version", "model", "language", "timezone"),
)
