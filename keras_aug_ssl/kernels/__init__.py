"""Pure functions of tensors: no randomness, no state. Images are channels last, with a leading batch axis."""
