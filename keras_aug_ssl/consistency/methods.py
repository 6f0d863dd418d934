"""The recipes: each paper's method as a setting of `ConsistencyModel`."""

from __future__ import annotations

from typing import Any

import keras

from keras_aug_ssl import rules
from keras_aug_ssl.consistency.labelling import Alignment, Labeller
from keras_aug_ssl.consistency.losses import ConsistencyLoss, EntropyMinimization, Fairness
from keras_aug_ssl.consistency.model import ConsistencyModel
from keras_aug_ssl.consistency.ramps import Cosine, Linear, Sigmoid
from keras_aug_ssl.consistency.selection import Selector
from keras_aug_ssl.consistency.views import View, Views


def FixMatch(
    model: keras.Model,
    weak: View | None = None,
    strong: View | None = None,
    *,
    threshold: float = 0.95,
    unlabeled_weight: float = 1.0,
    **options: Any,
) -> ConsistencyModel:
    """Hard labels of sure weak views, learned on strong views (Sohn et al. 2020, arXiv 2001.07685, eq. 3 and 4).

    1/B sum_b H(y_b, p(x_b)) + w 1/N sum_n 1[max q_n >= threshold] H(argmax q_n, p(strong(u_n))), q_n = p(weak(u_n)).

    Args:
        model: the model to train.
        weak, strong: the views; None are the library's own for images, which mirror them.
        threshold: least confidence, in [0, 1]; the paper's tau.
        unlabeled_weight: w, >= 0.
        **options: as for `ConsistencyModel`: `joint`, `prior`, `seed`, `name`.

    Example:
        >>> model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
        >>> ssl = kas.FixMatch(model, strong=kas.layers.strong_augmentation(flip=False))
        >>> ssl.selector.rule
        Threshold(confidence=0.95)
    """
    return ConsistencyModel(
        model,
        Labeller(temperature=0.0),
        rules.Threshold(threshold),
        Views(weak, strong),
        ConsistencyLoss(weight=unlabeled_weight),
        **{"name": "FixMatch"} | options,
    )
