"""Words in the names of files and folders that contain tests, or samples of attacks."""

from __future__ import annotations

from pipeguard.detect.words.notation import word_set

# Folders that contain nothing but tests and what they read.
TEST_FOLDERS = word_set(
    "test tests testdata testing __tests__ __snapshots__ __mocks__ __fixtures__ fixtures cassettes "
    "vcr_cassettes e2e cypress evals golden goldens snapshots pruebas testes"
)
# The first or the last word of a test's file name.
TEST_FILES = word_set("test tests spec specs conftest stories snap fixture fixtures")
# Words that nothing but what is about attacks on models has in its name.
ATTACKS = word_set(
    "attack attacks jailbreak jailbreaks injection injections injected redteam redteaming "
    "adversarial angriff angriffe ataque ataques attaque attaques"
)
# Files that people and agents read as text, or that say how to work: no data.
READ_AS_TEXT = word_set("md mdx mdc rst adoc html htm log rules")
