"""Robustness measured: the report over attacks and radii, its warnings, and certificates."""
