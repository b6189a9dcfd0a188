"""Records of whole sessions: their format, their files, and what is kept out of them."""
