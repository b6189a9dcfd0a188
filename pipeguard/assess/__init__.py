"""The posture of a machine or a repository: checks, their findings, and reports.

A caller goes in this order::

    target = of_machine(…)  or of_repository(…)     servers and settings         target
    contents = connect(target, …)                   the servers' offers          connecting
    assessment = assess(target)                     findings, score and grade    assessing
    report(form, assessment)                        one module for each form     reports

A check is a module in `checks` with its CHECKS and a function `look`; a form of report is a module
in `reports`. Nothing is registered.
"""
