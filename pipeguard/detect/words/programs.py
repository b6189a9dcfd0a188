"""Programs of a command line: which run others, read, write or send, and by which arguments.

Used by detect.commands.programs and the modules that read command lines; names are in small
letters, without folder and `.exe`. Which command is harmful is for rules to say.
"""

from __future__ import annotations

from pipeguard.detect.words.notation import word_list, word_set

SHELLS = word_set("sh bash zsh dash ksh ash fish csh tcsh rbash mksh")
# Expressions, for the versions in their names.
INTERPRETERS = word_list(
    "python[0-9.]* pypy3? perl[0-9.]* node nodejs ruby php[0-9.]* deno bun lua awk gawk osascript"
)

# -- what runs another program -------------------------------------------------------------------

# Its options of one letter that take a value, and how many words come before the other program.
WRAPPERS: dict[str, tuple[str, int]] = {
    "sudo": ("ugpCrtUDhRT", 0), "doas": ("uC", 0), "env": ("uC", 0), "nohup": ("", 0),
    "time": ("fo", 0), "timeout": ("sk", 1), "nice": ("n", 0), "ionice": ("cnp", 0),
    "command": ("", 0), "exec": ("a", 0), "builtin": ("", 0), "setsid": ("", 0),
    "stdbuf": ("ioe", 0), "xargs": ("InPdLaEs", 0), "busybox": ("", 0), "toybox": ("", 0),
    "watch": ("n", 0), "chronic": ("", 0), "unbuffer": ("", 0), "proxychains": ("f", 0),
    "proxychains4": ("f", 0), "torsocks": ("", 0), "torify": ("", 0), "taskset": ("", 1),
    "flock": ("wE", 1), "pkexec": ("", 0), "parallel": ("jIN", 0), "strace": ("eopsE", 0),
    "then": ("", 0), "do": ("", 0), "else": ("", 0), "!": ("", 0), "{": ("", 0), "if": ("", 0),
    "elif": ("", 0), "while": ("", 0), "until": ("", 0), "coproc": ("", 0), "trap": ("", 0),
    "start": ("", 0), "rtk": ("", 0), "catchsegv": ("", 0), "chrt": ("", 1), "setarch": ("", 1),
    "faketime": ("", 1), "systemd-run": ("puM", 0), "nocorrect": ("", 0), "noglob": ("", 0),
}  # fmt: skip
# These run it in a container or an environment of its own, after options of many kinds.
RUN_IN = word_set("docker podman kubectl uv poetry npx")

# -- what reads and writes -----------------------------------------------------------------------

# Their operands are files that they read.
READERS = word_set(
    "cat bat less more head tail strings xxd hexdump od base64 base32 nl tac sort uniq cut paste "
    "rev fold split tar zip 7z gzip bzip2 xz zstd gpg openssl jq yq source . cp mv scp rsync "
    "rclone install diff cmp comm wc vi vim nano emacs view column iconv type gc get-content "
    "md5sum shasum sha256sum uuencode ccat pr expand look dos2unix sqlite3 "
    "keytool plutil defaults mail mutt ftp tftp sftp s3cmd "
    "gsutil azcopy aws mc nc ncat socat readarray mapfile ln xclip pbcopy"
)
# What they print is of the files that they name, and they do nothing else.
PRINTERS = word_set(
    "cat bat head tail nl tac sort uniq cut jq yq grep egrep fgrep rg ag ack column fold wc cd"
)
# Without operands they print variables of the environment.
TELL_ENVIRONMENT = word_set("env printenv set export declare typeset compgen")
# The first operand is a pattern or a program, and no file.
PATTERN_FIRST = word_set("grep egrep fgrep rg ag ack zgrep sed awk gawk perl")
# The last operand is written to.
LAST_IS_TARGET = word_set("cp mv install ln rsync scp")
# Their operands, after the options, are files that they change.
OPERANDS_LAST = word_set("rm chmod chown chgrp shred unlink srm rmdir")
# They turn text into something else that may be run.
DECODERS = word_set("base64 base32 xxd openssl rev uudecode gunzip zcat basenc")
# The options by which clients of databases are given a statement; without one it is an operand.
CLIENTS: dict[str, tuple[str, ...]] = {
    "psql": ("-c", "--command"), "mysql": ("-e", "--execute"), "mariadb": ("-e", "--execute"),
    "sqlite3": (), "redis-cli": (), "mongosh": ("--eval",), "mongo": ("--eval",),
    "clickhouse-client": ("-q", "--query"), "sqlcmd": ("-Q", "-q"), "bq": ("query",),
    "cockroach": ("-e", "--execute"), "snowsql": ("-q",), "duckdb": ("-c",), "cqlsh": ("-e",),
    "influx": ("-execute",), "isql": ("-Q",),
}  # fmt: skip
# Tests of `find` by which it finds less than everything.
NARROWS = word_set(
    "-name -iname -path -ipath -regex -iregex -wholename -mtime -atime -ctime -mmin -amin -cmin "
    "-size -empty -newer -user -group -perm -links -inum -samefile"
)

# -- what sends ----------------------------------------------------------------------------------

# Expressions: they talk to another machine, whatever their arguments.
SENDERS = word_list(
    "curl wget nc ncat netcat socat ssh scp sftp rsync rclone ftp tftp lftp telnet mail mailx "
    "mutt sendmail ssmtp msmtp swaks http https xh aria2c nslookup dig host ping drill kdig "
    "gsutil azcopy s3cmd croc magic-wormhole wormhole transfer termbin sprunge pastebinit gist "
    "rsh websocat wscat iodine dnscat2? mosquitto_pub kcat kafkacat nats lynx w3m links httpie "
    "whois finger busybox-nc smbclient cadaver restic rustic borg duplicity pscp plink"
)
COPIES = word_set("scp sftp rsync")
FETCHERS = word_set("curl wget http https xh aria2c httpie")
# Expressions: the operations of clouds and forges that upload.
UPLOADS = (
    *(r"s3\S{0,4} (?:cp|mv|sync|rb)", r"storage (?:cp|blob|fs|rsync)", "gist create"),
    *("release upload", "secret set", "put-object", "copy", "cp ", "push"),
)

# -- disguises -----------------------------------------------------------------------------------

# Files that a pattern of the shell, as `/???/p?ss*d`, is written for; the first that fits counts.
FILES = word_list(
    "/bin/base64 /bin/bash /bin/cat /bin/chmod /bin/cp /bin/curl /bin/dash /bin/dd /bin/env "
    "/bin/head /bin/id /bin/kill /bin/less /bin/ls /bin/more /bin/mv /bin/nc /bin/nc.traditional "
    "/bin/ncat /bin/netcat /bin/perl /bin/python /bin/python3 /bin/rm /bin/sh /bin/tac /bin/tail "
    "/bin/wget /bin/xxd /bin/zsh /dev/sda /dev/tcp /etc/gshadow /etc/hosts /etc/passwd "
    "/etc/shadow /etc/sudoers /proc/self/environ /root/.ssh/id_rsa /usr/bin/base64 /usr/bin/bash "
    "/usr/bin/cat /usr/bin/curl /usr/bin/env /usr/bin/find /usr/bin/head /usr/bin/id /usr/bin/nc "
    "/usr/bin/ncat /usr/bin/perl /usr/bin/python /usr/bin/python3 /usr/bin/rm /usr/bin/sh "
    "/usr/bin/tac /usr/bin/tail /usr/bin/wget /usr/bin/xxd ~/.aws/credentials ~/.bash_history "
    "~/.bashrc ~/.netrc ~/.ssh/id_ed25519 ~/.ssh/id_rsa"
)

# Beside all of the above, programs that detect.commands.interpret knows more of than their name.
ALSO_INTERPRETED = word_set(
    "eval su runuser script watch flock find git tee truncate cd dd xargs gcloud az gh oc"
)
