"""Quality of the search over the tools of real servers."""
