"""What a run knows of its pool, row by row, kept so that a run that was killed goes on exactly."""
