"""How well a tool is found by a query, over what real servers offer."""
