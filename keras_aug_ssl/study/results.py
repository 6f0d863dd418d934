"""What a study was asked and what it has found so far, kept in one file that a killed run cannot spoil.

`results.json` is rewritten after every finished row, as a whole: a reader sees the old rows or the new ones.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_aug_ssl import checks
from keras_aug_ssl.writing import replacing

VARYING = ("seeds", "data_dir", "budget")
"""Settings that may change from one run in a folder to the next."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is compared: the data, the number of labels, and the budget every method gets.

    Args:
        dataset: what `keras_aug_ssl.data.load` takes: `"mnist5k"`, `"digits"`, a TensorFlow Datasets name, or a folder
            that holds a folder of images for each class.
        labels: labeled examples in all, the same number of each class.
        seeds: how often everything is repeated; each seed has its own labeled examples, weights and batch order.
        steps: gradient steps of every network.
        epsilon: radius of the attacks in the largest-change norm; image values lie in [0, 1].
        data_dir: where TensorFlow Datasets keeps its files; None for its own default.
        image_size: edge in pixels that a folder's images are resized to; None where they have one size.
        budget: a name in `BUDGETS`, for the methods.

    Raises:
        ValueError: a number is out of range.

    Example:
        >>> Settings(labels=50, seeds=1).labels
        50
    """

    dataset: str = "mnist5k"
    labels: int = 100
    seeds: int = 3
    steps: int = 600
    epsilon: float = 0.1
    data_dir: str | None = None
    image_size: int | None = None
    budget: str = "quick"

    def __post_init__(self) -> None:
        checks.integer("study", "labels", self.labels, 1)
        checks.integer("study", "seeds", self.seeds, 1)
        checks.integer("study", "steps", self.steps, 1)
        checks.number("study", "epsilon", self.epsilon, 0.0, 1.0)
        if self.image_size is not None:
            checks.integer("study", "image_size", self.image_size, 4)

    def identity(self) -> dict[str, Any]:
        """The settings two rows must share to be comparable: not how many there are, nor where data lie."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in VARYING}


@dataclasses.dataclass(frozen=True)
class Round:
    """The pseudo-labels a network was training on at one moment.

    Args:
        step: gradient steps done.
        count: unlabeled examples in use.
        accuracy: share of them whose pseudo-label is true, in [0, 1]; None when there are none.
    """

    step: int
    count: int
    accuracy: float | None


@dataclasses.dataclass(frozen=True)
class Row:
    """One trained network.

    Args:
        method: the method's name.
        seed: which repetition.
        clean_accuracy: share of test images it gets right, in [0, 1].
        robust_accuracy: share it gets right under attack, in [0, 1].
        seconds: wall-clock time of its training.
        pseudo_labels: its pseudo-labels over time; empty for methods without any.
    """

    method: str
    seed: int
    clean_accuracy: float
    robust_accuracy: float
    seconds: float
    pseudo_labels: tuple[Round, ...] = ()


@dataclasses.dataclass(frozen=True)
class Summary:
    """A method over its finished seeds: (mean, sample standard deviation) of each column; the latter 0 for one seed."""

    method: str
    seeds: int
    clean_accuracy: tuple[float, float]
    robust_accuracy: tuple[float, float]
    seconds: tuple[float, float]


class Results:
    """The rows of a study in a folder, loaded when some are there already.

    Args:
        folder: where `results.json` is or will be.
        settings: of this run; rows found in the folder must have been made with the same.
        versions: of the software, by name; likewise.

    Raises:
        ValueError: the folder holds a study with other settings or versions, or a file that is no study.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> Results(folder, Settings(), {}).add(Row("supervised", 0, 0.8, 0.1, 12.0))
        >>> [row.method for row in Results(folder, Settings(), {}).rows]
        ['supervised']
    """

    def __init__(self, folder: str | Path, settings: Settings, versions: dict[str, str]) -> None:
        _check_folder(Path(folder))
        self.path = Path(folder) / "results.json"
        self.settings = settings
        self.versions = versions
        self.rows: list[Row] = self._load() if self.path.exists() else []

    def find(self, method: str, seed: int) -> Row | None:
        """The finished row of this method and seed, if there is one."""
        return next((row for row in self.rows if (row.method, row.seed) == (method, seed)), None)

    def add(self, row: Row) -> None:
        """Keeps a finished row, in place of an older one of that method and seed, and writes the file."""
        self.rows = [old for old in self.rows if (old.method, old.seed) != (row.method, row.seed)] + [row]
        content = {
            "settings": dataclasses.asdict(self.settings),
            "versions": self.versions,
            "rows": [dataclasses.asdict(row) for row in self.rows],
            "summary": [dataclasses.asdict(summary) for summary in self.summaries()],
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as draft:
            draft.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def asked(self) -> list[Row]:
        """The rows of the seeds this run asks for; a folder may hold more from a longer one."""
        return [row for row in self.rows if row.seed < self.settings.seeds]

    def summaries(self) -> list[Summary]:
        """One summary per method, in the order the methods first ran."""
        methods = dict.fromkeys(row.method for row in self.asked())
        return [_summary(method, [row for row in self.asked() if row.method == method]) for method in methods]

    def _load(self) -> list[Row]:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            before = Settings(**content["settings"]).identity() | content["versions"]
            rows = [
                Row(**{**row, "pseudo_labels": tuple(Round(**entry) for entry in row["pseudo_labels"])})
                for row in content["rows"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{self.path} is not the results of a study; choose another folder.") from error
        now = self.settings.identity() | self.versions
        names = [name for name in now | before if before.get(name) != now.get(name)]
        changed = [f"{name} {before.get(name)} -> {now.get(name)}" for name in names]
        if changed:
            raise ValueError(
                f"{self.path} holds a study that cannot be continued, for this changed: {', '.join(changed)}. "
                "Choose another folder, or remove this one."
            )
        return rows


def _check_folder(folder: Path) -> None:
    """Raises unless one can write in the folder, which need not be there yet."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{there} is no folder one can write in; choose another folder for the study.")


def _summary(method: str, rows: Sequence[Row]) -> Summary:
    def column(name: str) -> tuple[float, float]:
        values = [getattr(row, name) for row in rows]
        return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0

    return Summary(method, len(rows), column("clean_accuracy"), column("robust_accuracy"), column("seconds"))
