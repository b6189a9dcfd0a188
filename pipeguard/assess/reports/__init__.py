"""Reports: each module has `render(assessment)`, which makes the whole text of one form."""
