"""Watches a server that runs without isolation, and tells what it would need if it were isolated.

`tracer` reads what strace(1) reports of its calls and records the files and hosts in an
`observed.Observed`; `reduction` turns that into the grants that a person is asked for. `learner`
starts such a server.
"""
