"""What every method that learns from a model's own predictions shares: outputs, teachers, and alarms."""
