"""What an epoch's line of `fit` shows: a few columns, while `History` and other callbacks get all."""

from __future__ import annotations

from typing import Any

import keras


def log_unprinted(model: keras.Model, logs: dict[str, Any], values: dict[str, float]) -> None:
    """Adds values to the logs of an epoch for every callback but the one that prints them.

    Called in the `on_epoch_end` of a callback of the user's. Keras then calls the other ones, at last `History` and
    then the line's printer, all with the same dict: so `History`, once it has the values, takes them out.
    """
    logs |= values
    history = getattr(model, "history", None)
    if not isinstance(history, keras.callbacks.History):
        return

    def keep(epoch: int, logs: dict[str, Any] | None = None) -> None:
        del history.on_epoch_end  # the class's own is back
        history.on_epoch_end(epoch, logs)
        for name in values:
            (logs or {}).pop(name, None)

    history.on_epoch_end = keep
