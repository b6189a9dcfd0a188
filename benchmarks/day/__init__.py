"""What happens to the actions of a developer's day, and to attacks that resemble them."""
