"""What programs in other languages hand to a shell, and which files they open."""

import pytest

from pipeguard.detect.commands.interpret import opened_file_lines, shell_calls


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
