"""Real data sets, splits into labelled and unlabelled parts, and the streams that feed training."""
