"""Which names the reference has, read from its pages: the site links by them, a test compares them with the package."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras_aug_ssl as kas

REFERENCE = Path(__file__).resolve().parents[1] / "reference"
ENTRY = re.compile(r"^   (?:~\.)?([A-Za-z_][\w.]*)$", re.MULTILINE)
LAWS = re.compile(r"^```\{laws\} (\w+)$", re.MULTILINE)
LISTS = re.compile(r"^\.\. autosummary::\n((?:   .*\n|\n)+)", re.MULTILINE)


def listed() -> list[str]:
    """The names that the pages of the reference list, as behind `kas.`: `layers.RandomFlip`, `PGD`."""
    pages = [path.read_text(encoding="utf-8") for path in sorted(REFERENCE.glob("*.md"))]
    entries = [name for page in pages for entries in LISTS.findall(page) for name in ENTRY.findall(entries)]
    return entries + [f"testing.{name}" for page in pages for name in LAWS.findall(page)]


def found(name: str) -> Any:
    """What `name` is behind `kas.`; an AttributeError where there is no such thing."""
    value: Any = kas
    for part in name.split("."):
        value = getattr(value, part)
    return value


def entry_of(name: str) -> str | None:
    """The listed name of what `kas.<name>` is, also when it is reached by another way; None when it isn't listed."""
    entries = {id(found(entry)): entry for entry in listed()}
    return entries.get(id(found(name)))
