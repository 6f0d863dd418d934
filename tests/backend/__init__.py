"""What holds on every backend: run by `make test-backends` with KERAS_BACKEND=jax and torch."""
