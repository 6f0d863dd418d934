"""Everything a run knows of its pool, as one value that can be copied, saved and restored."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from keras_aug_ssl.self_training.books.ledger import Change, Ledger
from keras_aug_ssl.self_training.feeding.feeder import Selected
from keras_aug_ssl.teaching.class_mix import ClassMix
from keras_aug_ssl.teaching.guards import Facts


@dataclasses.dataclass
class Books:
    """What a run knows.

    Attributes:
        ledger: what is known of every row.
        selected: the rows in use, with their targets.
        round: rounds so far.
        change: what the last round did.
        facts: what the guards compare the next round with; None before the first.
        class_mix: what is believed of the pool's class mix; None where it isn't estimated.
    """

    ledger: Ledger
    selected: Selected
    round: int = 0
    change: Change = Change()
    facts: Facts | None = None
    class_mix: ClassMix | None = None

    @classmethod
    def empty(cls, size: int, targets: int | None = None) -> Books:
        """Returns the books before the first round, of a pool with this size and so many targets a row."""
        nothing = Selected(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))
        return cls(Ledger(size, targets), nothing)

    def copy(self) -> Books:
        """Returns books that further rounds of these leave alone."""
        return dataclasses.replace(self, ledger=Ledger.restored(self.ledger.state()))

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the large part, to be saved."""
        return {**self.ledger.state(), "rows": self.selected.rows, "targets": self.selected.targets}

    def numbers(self) -> dict[str, Any]:
        """Returns the small part, as JSON takes it."""
        facts = None if self.facts is None else _plain(dataclasses.asdict(self.facts))
        mix = None if self.class_mix is None else _plain(self.class_mix._asdict())
        return {"round": self.round, "change": dataclasses.asdict(self.change), "facts": facts, "class_mix": mix}

    @classmethod
    def restored(cls, arrays: dict[str, np.ndarray], numbers: dict[str, Any]) -> Books:
        """Makes books of what was saved."""
        ledger = Ledger.restored(arrays)
        selected = Selected(arrays["rows"], arrays["targets"], ledger.weight[arrays["rows"]])
        facts = numbers["facts"]
        if facts is not None:
            lists = {name: np.asarray(facts[name]) for name in ("mix", "prior") if facts[name] is not None}
            facts = Facts(**(facts | lists))
        mix = numbers["class_mix"]
        if mix is not None:
            arrays = {name: np.asarray(mix[name]) for name in ("estimated", "labeled")}
            mix = ClassMix(**(mix | arrays | {"shares": np.asarray(mix["shares"], np.float32)}))
        return cls(ledger, selected, numbers["round"], Change(**numbers["change"]), facts, mix)


def _plain(parts: dict[str, Any]) -> dict[str, Any]:
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in parts.items()}
