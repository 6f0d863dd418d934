"""Predicting the pool and choosing labels: scores, noisy passes, calibration, held-out rows."""
