"""What an attack may do: how far, inside which limits, and how the ball is sampled."""
