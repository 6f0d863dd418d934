"""One case for every public layer, and helpers the tests of this folder share."""

from __future__ import annotations


def plain(layer):
    """`layer`, not compiled: a compilation takes longer than everything else in a small test."""
    layer.jit_compile = False
    return layer
