"""What judging real documents costs, and what happens to them, by kind of document."""
