"""Cost of each rule, and distance of its samples from its border: for authors of rules."""
