"""Cost and outcome of judging real documents, by kind of document."""
