"""How an attack sees a model: its scores, its state, what counts as an error, and batches of its inputs."""
