"""What each rule costs, and how near its samples are to its border: for authors of rules."""
