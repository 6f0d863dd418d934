"""Docstrings are Markdown with Google's sections, as they read best in the code: here they become what Sphinx reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sphinx.application import Sphinx

CODE = re.compile(r"(`[^`]*`)")
SPECIAL = re.compile(r"([*|\\]|(?<=\w)_(?!\w))")  # what reStructuredText would take for markup
ATTRIBUTES = re.compile(r"^Attributes, (.*):$")
BULLET = re.compile(r"(\s*(?:\* )?)(.*)", re.DOTALL)
CELL = re.compile(r"(?<!\\)\|")


def plain(line: str) -> str:
    """A line whose text outside backticks means what it says."""
    bullet, text = BULLET.match(line).groups()
    parts = CODE.split(text)
    return bullet + "".join(part if place % 2 else SPECIAL.sub(r"\\\1", part) for place, part in enumerate(parts))


def table(rows: list[str]) -> Iterator[str]:
    """A Markdown table as a list-table."""
    yield from ("", ".. list-table::", "   :header-rows: 1", "")
    for row in rows[:1] + rows[2:]:
        for place, cell in enumerate(CELL.split(row.strip().strip("|"))):
            yield f"   {'  -' if place else '* -'} {plain(cell.strip())}"
    yield ""


def converted(lines: list[str]) -> Iterator[str]:
    """The lines of a docstring, tables, examples and prose each in their way."""
    rows: list[str] = []
    in_example = False
    for line in [*lines, ""]:
        if line.startswith("|"):
            rows.append(line)
            continue
        if rows:
            yield from table(rows)
            rows = []
        in_example = bool(line.strip()) and (in_example or line.lstrip().startswith(">>>"))
        attributes = ATTRIBUTES.match(line)
        if attributes:
            said = attributes.group(1)
            yield from (f"{said[0].upper()}{said[1:]}.", "", "Attributes:")
        else:
            yield line if in_example else plain(line)


def convert(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    lines[:] = list(converted(lines))


def skip_foreign(app: Sphinx, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """Leaves out what a class has from Keras or Python: their documentation has it."""
    module = getattr(getattr(thing, "fget", None) or thing, "__module__", None) or ""
    return True if module and not module.startswith("keras_aug_ssl") else None


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", convert, priority=100)  # before napoleon reads the sections
    app.connect("autodoc-skip-member", skip_foreign)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
