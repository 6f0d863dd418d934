"""Trainings that take several parts of the library at once, in one call."""

from __future__ import annotations

from typing import Any

import keras

from keras_aug_ssl import checks
from keras_aug_ssl.adversarial.search.attack import Attack
from keras_aug_ssl.adversarial.training.methods import Method
from keras_aug_ssl.adversarial.training.trainer import AdversarialTraining
from keras_aug_ssl.self_training.callback import SelfTraining


def robust_self_training(
    model: keras.Model,
    training: Any,
    labeled: tuple[Any, Any],
    attack: Attack,
    method: str | Method = "trades",
    *,
    feeding: dict[str, Any] | None = None,
    hardening: dict[str, Any] | None = None,
    **fit: Any,
) -> keras.callbacks.History:
    """Self-training of a robust model in one `fit` (Carmon et al. 2019, arXiv 1905.13736, algorithm 1).

    Labels for the pool are made on its images as they are, which nobody attacked; labeled and pseudo-labeled rows are
    both learned under attack. It is `AdversarialTraining(model, attack, method)`, fitted on the training set of a
    `SelfTraining`, so guards, the table, the pool's state and exact continuation (`backup_dir`) are those of that. In
    the paper another network labels once; here the model labels again as it learns. For methods that label inside the
    step see `robust`.

    Args:
        model: compiled; its weights are trained, and it is compiled anew, with an optimizer of the same settings.
        training: a `SelfTraining`, or the pool for one with its defaults.
        labeled: (x, y), inside the attack's bounds.
        attack: makes the examples, as for `AdversarialTraining`.
        method: of `AdversarialTraining`.
        feeding: arguments of `SelfTraining.training_set`, such as `{"batch_size": 64, "augment": pipeline}`.
        hardening: further arguments of `AdversarialTraining`, such as `{"warmup_steps": 500}`, without which a large
            radius leaves a network without BatchNormalization at chance.
        **fit: arguments of `fit`, such as `epochs`, `validation_data` and `callbacks`.

    Returns:
        The one `History`, with the entries of `SelfTraining`. Its `model` is the `AdversarialTraining`.

    Raises:
        ValueError: for a model that isn't compiled; and as the parts do.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> x, y = np.eye(4, dtype="float32")[np.arange(8) % 4], np.arange(8) % 4
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
        >>> model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> training = kas.SelfTraining(x, start_epoch=1)
        >>> attack = kas.PGD(0.1, steps=2)
        >>> history = kas.robust_self_training(model, training, (x, y), attack, epochs=2, verbose=0)
        >>> len(history.history["loss"]), len(training.table())
        (2, 8)
    """
    owner = "robust_self_training"
    if getattr(model, "optimizer", None) is None:
        checks.fail(owner, "model", "compiled", getattr(model, "name", model), "Call model.compile(...) before.")
    if not isinstance(training, SelfTraining):
        training = SelfTraining(training)
    own = ("clean_fraction", "warmup_steps", "budget", "weight_perturbation", "input_name")
    if unknown := sorted(set(hardening or {}) - set(own)):
        checks.fail(owner, "hardening", f"a dict of {', '.join(own)}", unknown)
    trainer = AdversarialTraining(model, attack, method, **(hardening or {}))
    trainer.compile_like(model)
    x, y = labeled
    callbacks = fit.pop("callbacks", None) or []
    callbacks = [training, *(callbacks if isinstance(callbacks, (list, tuple)) else [callbacks])]
    return trainer.fit(training.training_set(x, y, **(feeding or {})), callbacks=callbacks, **fit)
