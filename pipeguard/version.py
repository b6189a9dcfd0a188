"""The version; the build and `--version` read it from here."""

VERSION = "0.1.0"
__version__ = VERSION
