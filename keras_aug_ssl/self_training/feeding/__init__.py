"""What `fit` reads: labeled and selected rows, augmented, in epochs of constant length."""
