"""Watches a server that runs as open as ever, and says what it would need if it were isolated.

`listener` has the kernel stop at each call in `calls` and ask; `tracer` answers all of them with
"go on" and writes down what they are about, in an `observed.Observed`; `reduction` makes of that
what a person is asked to grant. `learner` starts a server so.
"""
