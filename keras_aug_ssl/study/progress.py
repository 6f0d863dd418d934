"""What a run shows while it goes on: a moving bar in a terminal that can show one, else a plain line now and then."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

import keras

from keras_aug_ssl.study.results import Row


class Progress:
    """Plain lines: one when a row is finished, and a sign of life every few seconds between.

    Args:
        total: rows in all.
        stream: where to write; None for standard output.
        every: seconds between signs of life.
    """

    def __init__(self, total: int, stream: TextIO | None = None, every: float = 10.0) -> None:
        self.total = total
        self.stream = stream or sys.stdout
        self.every = every
        self.done = 0
        self._label = ""
        self._last = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: Any) -> None:
        """Nothing to close."""

    def row_started(self, title: str, seed: int, steps: int) -> None:
        """A network of `steps` gradient steps begins."""
        self._label = _label(title, seed)
        self._last = time.monotonic()

    def trained(self, step: int, steps: int, detail: str) -> None:
        """`step` of `steps` gradient steps are done."""
        if time.monotonic() - self._last >= self.every:
            self._last = time.monotonic()
            self.say(f"{self._counter()} {self._label:<28} step {step}/{steps}  {detail}")

    def attacking(self) -> None:
        """Training is over and the attack begins."""

    def row_finished(self, row: Row, title: str, kept: bool = False) -> None:
        """A row is there; `kept` when an earlier run had made it."""
        self.done += 1
        source = "from an earlier run" if kept else f"{row.seconds:.0f} s"
        result = f"clean {100 * row.clean_accuracy:5.1f} %  attacked {100 * row.robust_accuracy:5.1f} %  {source}"
        self.say(f"{self._counter()} {_label(title, row.seed):<28} {result}")

    def say(self, line: str) -> None:
        """One whole line."""
        print(line, file=self.stream, flush=True)

    def _counter(self) -> str:
        return f"[{self.done:>{len(str(self.total))}}/{self.total}]"


def _label(title: str, seed: int) -> str:
    return f"seed {seed}  {title}"


class Silent(Progress):
    """Nothing: what a worker elsewhere shows."""

    def __init__(self) -> None:
        super().__init__(0, every=float("inf"))


class LiveProgress(Progress):
    """The same lines with two moving bars under them: this network's steps, and the whole study."""

    def __init__(self, total: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        super().__init__(total, every=float("inf"))
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.fields[detail]}"),
        )  # fmt: skip
        self._all = self._bars.add_task("networks", total=total, detail="")
        self._steps = self._bars.add_task("", total=None, detail="")

    def __enter__(self) -> LiveProgress:
        self._bars.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bars.stop()

    def row_started(self, title: str, seed: int, steps: int) -> None:
        super().row_started(title, seed, steps)
        self._bars.reset(self._steps, total=steps, description=self._label, detail="")

    def trained(self, step: int, steps: int, detail: str) -> None:
        self._bars.update(self._steps, completed=step, detail=detail)

    def attacking(self) -> None:
        self._bars.update(self._steps, detail="attacking the test images")

    def row_finished(self, row: Row, title: str, kept: bool = False) -> None:
        super().row_finished(row, title, kept)
        self._bars.update(self._all, completed=self.done)

    def say(self, line: str) -> None:
        self._bars.console.print(line, markup=False, highlight=False)


def best_progress(total: int) -> Progress:
    """Moving bars when `rich` is installed and standard output is a terminal, plain lines otherwise."""
    try:
        from rich.console import Console
    except ImportError:
        return Progress(total)
    return LiveProgress(total) if Console().is_terminal else Progress(total)


class ShowEpochs(keras.callbacks.Callback):
    """Tells a `Progress` after every epoch how far `fit` has come."""

    def __init__(self, progress: Progress, steps_per_epoch: int) -> None:
        super().__init__()
        self._progress = progress
        self._steps_per_epoch = steps_per_epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        shown = {"loss": "loss {:.3f}", "n_pseudo": "{:.0f} pseudo-labels"}
        logs = logs or {}
        detail = "  ".join(text.format(logs[name]) for name, text in shown.items() if logs.get(name))
        done, total = (count * self._steps_per_epoch for count in (epoch + 1, self.params["epochs"]))
        self._progress.trained(done, total, detail)
