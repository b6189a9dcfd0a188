"""Word lists: tables alone, one module for each thing that words are asked about.

A table is what a security engineer extends without reading the code that asks it. Each says what
its words have in common; tests/core/words proves each word. Refuses to hold logic, expressions of
rules (`rules/*.yaml`) or values. Begin with `credentials`, whose first lines show how to read one.
"""
