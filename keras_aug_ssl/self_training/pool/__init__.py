"""Unlabeled examples, wherever they are kept: arrays, image files, records, data sets."""
