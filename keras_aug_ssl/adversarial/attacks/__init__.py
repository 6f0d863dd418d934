"""The recipes: each attack as a ball, a step rule and an objective around the loop of `search`."""
