"""The rule for several labels a row, which learns from what is absent as well as from what is present."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.rules.base import Context, Prediction, Rows, Rule, Statistics, positive


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class Decided(Rule):
    """Takes rows of which enough labels are decided: surely present or surely absent.

    The rule for models with one sigmoid for each label. Absent labels are pseudo-labels too, the negative ones of UPS
    (arXiv 2101.06329, eq. 3). With hard labels a decided output becomes 1 or 0; an undecided one keeps its probability
    as target, whose cross-entropy has no gradient at the prediction it came from, instead of being guessed.

    Args:
        present: probability from which on a label is present, in (absent, 1].
        absent: probability up to which it is absent, in [0, present).
        share: least share of a row's labels to be decided, in (0, 1].

    Example:
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> kas.rules.Decided(0.9, 0.1)(np.array([[0.95, 0.02, 0.05], [0.95, 0.5, 0.05]]))
        array([1., 0.], dtype=float32)
    """

    by_row = True

    def __init__(self, present: float = 0.9, absent: float = 0.1, share: float = 1.0) -> None:
        self.present = checks.number("Decided", "present", present, 0.0, 1.0)
        self.absent = checks.number("Decided", "absent", absent, 0.0, self.present, high_open=True)
        self.share = checks.number("Decided", "share", share, 0.0, 1.0, low_open=True)

    def score(self, prediction: Prediction) -> tf.Tensor:
        """Returns the share of decided labels."""
        return tf.reduce_mean(positive(self._decided(prediction.probabilities)), axis=-1, keepdims=True)

    def weights(self, rows: Rows, statistics: Statistics, context: Context) -> tf.Tensor:
        """Returns 1 from the share on."""
        return positive(rows.score[:, 0] >= self.share - 1e-6)

    def harden(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns 0 or 1 where decided, the probability elsewhere."""
        return np.where(self._decided(probabilities), probabilities >= self.present, probabilities).astype(np.float32)

    def _decided(self, probabilities: Any) -> Any:
        return (probabilities >= self.present) | (probabilities <= self.absent)

    def get_config(self) -> dict[str, Any]:
        """Returns levels and share."""
        return {"present": self.present, "absent": self.absent, "share": self.share}
