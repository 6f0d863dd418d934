"""The one loop that all attacks share, and the steps and schedules that it runs with."""
