"""What happens to a batch in any layer: read, planned, drawn, painted, and put back in its structure."""
