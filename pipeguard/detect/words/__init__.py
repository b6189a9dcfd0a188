"""Word lists, as tables: what names of tools, arguments, programs, hosts and credentials say.

To extend what is recognised, add a word to a table; tests/detect/words proves that it has an
effect. A comment above each table says what its words have in common. Refuses to hold logic, and
the expressions of rules (`rules/*.yaml`). Begin with `credentials`, whose docstring says who uses
what.
"""
