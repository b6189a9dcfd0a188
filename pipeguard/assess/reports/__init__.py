"""The forms of a report: each module has `render(assessment)`, which returns the text."""
