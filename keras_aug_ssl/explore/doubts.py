"""A table of pseudo-labels for a person to go through: the most doubtful first, corrected beside the original."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Sequence
from pathlib import Path

from keras_aug_ssl import checks
from keras_aug_ssl.writing import replacing

OWNER = "explore"
NEEDED = ("id", "label", "confidence")

Rows = list[list[str]]


def read(path: str | Path) -> tuple[list[str], Rows]:
    """The columns and rows of a CSV that `SelfTraining.table().to_csv` or `pseudo-label` wrote.

    Returns:
        Names, and labeled rows by rising confidence; those without one come first.

    Raises:
        ValueError: it is no such table.
    """
    with open(path, newline="", encoding="utf-8") as stream:
        names, *rows = list(csv.reader(stream)) or [[]]
    if not set(NEEDED) <= set(names):
        checks.fail(OWNER, "table", f"a CSV with the columns {', '.join(NEEDED)}", names)
    label, confidence = names.index("label"), names.index("confidence")
    labeled = [row for row in rows if row[label] not in ("-1", "")]
    return names, sorted(labeled, key=lambda row: _sureness(row[confidence]))


def save_corrected(path: str | Path, names: Sequence[str], shown: Sequence[Sequence[object]]) -> tuple[Path, int]:
    """Writes the whole table anew beside the original, with the labels as a person left them and a column that says so.

    Args:
        path: of the original, which stays as it is.
        names: of its columns, as `read` gave them.
        shown: rows as `read` gave them, with labels that may have been changed.

    Returns:
        The new file, `<name>-corrected.csv`, or with a number behind where that is there already, since what a person
        corrected is never replaced; and how many labels were changed.

    Raises:
        ValueError: a label is no whole number.
    """
    place, number = list(names).index("id"), list(names).index("label")
    wanted = {str(row[place]): _label(row[number]) for row in shown}
    with open(path, newline="", encoding="utf-8") as stream:
        columns, *rows = list(csv.reader(stream))
    changed = 0
    for row in rows:
        label = wanted.get(row[place], row[number])
        row.append("by hand" if label != row[number] else "")
        changed += label != row[number]
        row[number] = label
    file = _free(Path(path).with_name(f"{Path(path).stem}-corrected.csv"))
    with replacing(file) as draft, draft.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*columns, "corrected"])
        writer.writerows(rows)
    return file, changed


def _label(value: object) -> str:
    try:
        return str(int(str(value)))
    except ValueError:
        checks.fail(OWNER, "label", "a class number", value)


def _free(file: Path) -> Path:
    """The file, or the first of its name with a number behind that isn't there."""
    numbered = (file.with_name(f"{file.stem}-{number}{file.suffix}") for number in itertools.count(2))
    return next(place for place in itertools.chain([file], numbered) if not place.exists())


def _sureness(confidence: str) -> float:
    """The number; below all others where there is none."""
    try:
        value = float(confidence)
    except ValueError:
        return -1.0
    return -1.0 if math.isnan(value) else value
