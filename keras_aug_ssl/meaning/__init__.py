"""What a model, its loss and its labels mean, read once for every half: as `fit` and `evaluate` take them, or asked."""
