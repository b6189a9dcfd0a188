"""The posture of a machine or a repository: what checks find, and reports of it.

Who wants to know asks in this order::

    subject = of_machine(…)  or of_repository(…)     what is looked at            target
    contents = connect(servers, …)                   what servers offer           connecting
    assessment = assess(subject)                     findings, score and grade    assessing
    report(assessment)                               one module for each form     reports

A check is a module in `checks` with its CHECKS and a function `look`; a form of report is a module
in `reports`. Nothing is registered.
"""
