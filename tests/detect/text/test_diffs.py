"""The file to which a line of a diff belongs."""

from pipeguard.detect.text.diffs import changed_file

DIFF = b"""Message: x
diff --git a/tests/a.txt b/tests/a.txt
index 1a2b..3c4d 100644
--- a/tests/a.txt
+++ b/tests/a.txt
@@ -1,2 +1,3 @@ x
 kept
+added
+diff --git a/b.txt b/b.txt
-gone
diff --git a/README.md b/README.md
@@ -1 +1,2 @@
+text
"""


def path_at(data: bytes, word: bytes) -> str | None:
    file = changed_file(data, data.index(word))
    return None if file is None else file[0]


def test_a_line_is_of_the_file_whose_header_is_before_it() -> None:
    assert path_at(DIFF, b"added") == "tests/a.txt"
    assert path_at(DIFF, b"gone") == "tests/a.txt", "no line of a file is a header"
    assert path_at(DIFF, b"text\n") == "README.md"
    assert path_at(DIFF, b"Message") is None
    assert path_at(b"diff --git a/x b/y\n+a", b"+a") is None, "two names"
    assert path_at(b"plain", b"plain") is None


def test_content_is_what_is_written_in_the_file() -> None:
    content = b"kept\nadded\ndiff --git a/b.txt b/b.txt\ngone"
    assert changed_file(DIFF, DIFF.index(b"added")) == ("tests/a.txt", content)
