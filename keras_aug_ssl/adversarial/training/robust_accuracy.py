"""Accuracy under attack in every epoch, and the alarm when training on one-step attacks collapses."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.adversarial.attacks.fixed_radius import FGSM
from keras_aug_ssl.adversarial.search.attack import Attack
from keras_aug_ssl.adversarial.search.results import concatenate
from keras_aug_ssl.adversarial.victim.batches import batches
from keras_aug_ssl.adversarial.victim.model import victim_of
from keras_aug_ssl.meaning import heads
from keras_aug_ssl.meaning.wrapping import Wrapper
from keras_aug_ssl.teaching.teachers import steps_made

ACTIONS = ("warn", "stop", "rollback")

# A collapsed model stands up to one step and to nothing else. Robust models lose a third or less to further steps.
_FALL = 0.5  # robust accuracy below this share of the best so far has fallen
_STAYS = 0.05  # while accuracy under one step is at most this much below what it was then
_GAP = 0.25  # or: robust accuracy is below this share of that under one step, which needs no best to compare with,
_SURE, _LIKELY = 0.5, 0.3  # where one step leaves this much; or this much twice in a row


class RobustAccuracy(keras.callbacks.Callback):
    """Measures accuracy under an attack after each epoch, and tells when adversarial training collapses.

    The value goes into the logs, so `History`, `EarlyStopping` and `ModelCheckpoint` have it, where this callback comes
    before them in the list. It works for any Keras model, and for the wrappers of this library, whose wrapped model is
    attacked.

    Training on one-step attacks may overfit catastrophically (Wong et al. 2020, section 5.4): from one epoch to the
    next the model fools the one step, at the radius it is trained with, and an attack of more steps finds everything.
    Where the model is an `AdversarialTraining`, accuracy under `FGSM` at its radius is measured too. It is a collapse
    when that is at least 30 %, and robust accuracy falls below half its best while it stays, or is below a quarter of
    it, where it is over 50 % or twice in a row. Not while `warmup_steps` last.

    Args:
        attack: what to withstand: stronger than what is trained with, as `PGD(8 / 255, steps=20)`.
        data: validation data, `(x, y)` or a data set that brings the labels. The same in every epoch.
        every: epochs from one measurement to the next, >= 1. The first epoch is measured; between, the logs repeat the
            last value.
        batch_limit: batches of 250 (or of the data set) to attack; None takes all.
        name: of the value in the logs.
        on_overfitting: "warn"; "stop" also ends the training; "rollback" also puts back the weights of the last epoch
            that was measured before.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> x, y = np.random.default_rng(0).uniform(size=(32, 4)), np.arange(32) % 2
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> robust = kas.AdversarialTraining(model, kas.RandomFGSM(0.05), "fast")
        >>> robust.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> watch = kas.RobustAccuracy(kas.PGD(0.05, steps=5), (x, y), on_overfitting="rollback")
        >>> best = keras.callbacks.EarlyStopping("robust_accuracy", mode="max", restore_best_weights=True)
        >>> sorted(robust.fit(x, y, epochs=2, verbose=0, callbacks=[watch, best]).history)
        ['loss', 'robust_accuracy']
    """

    def __init__(
        self,
        attack: Attack,
        data: Any,
        every: int = 1,
        *,
        batch_limit: int | None = None,
        name: str = "robust_accuracy",
        on_overfitting: str = "warn",
    ) -> None:
        super().__init__()
        owner = "RobustAccuracy"
        if not isinstance(attack, Attack):
            checks.fail(owner, "attack", "an attack, such as PGD(epsilon=8 / 255)", attack, error=TypeError)
        check_attack(owner, attack)
        self.attack = attack
        self.x: Any
        self.y: Any
        self.x, self.y = data if isinstance(data, (tuple, list)) and len(data) == 2 else (data, None)
        known = isinstance(data, (tf.data.Dataset, keras.utils.PyDataset)) or self.y is not None
        if not known:
            checks.fail(owner, "data", "(x, y), or a data set that brings the labels", type(data).__name__)
        self.every = checks.integer(owner, "every", every, 1)
        self.batch_limit = None if batch_limit is None else checks.integer(owner, "batch_limit", batch_limit, 1)
        self.name = name
        self.on_overfitting = checks.one_of(owner, "on_overfitting", on_overfitting, ACTIONS)
        self.overfitted_epoch: int | None = None
        self._forget()

    def _forget(self) -> None:
        self.overfitted_epoch = None
        self._last = float("nan")
        self._best: tuple[float, float] | None = None
        self._doubted = False
        self._weights: Any = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forgets the training before."""
        self._forget()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures."""
        if epoch % self.every == 0 or np.isnan(self._last):
            if np.isnan(self._last):
                input_name = getattr(self.model, "input_name", None)
                check_classifier("RobustAccuracy", self.model, self.x, self.y, input_name)
            self._last = self._measure(self.attack)
            one_step = self._one_step()
            if one_step is not None and self.overfitted_epoch is None:
                self._watch(epoch + 1, self._last, self._measure(one_step))
        if logs is not None:
            logs[self.name] = self._last

    def _measure(self, attack: Attack) -> float:
        return robust_accuracy(
            self.model, attack, self.x, self.y, batch_limit=self.batch_limit,
            input_name=getattr(self.model, "input_name", None),
        )  # fmt: skip

    def _one_step(self) -> Attack | None:
        """FGSM as the model is trained to withstand it; None where it isn't."""
        trained = getattr(self.model, "training_attack", None)
        if not isinstance(trained, Attack) or trained.epsilon is None:
            return None
        return FGSM(trained.epsilon, trained.norm, bounds=trained.bounds)

    def _watch(self, epoch: int, robust: float, one_step: float) -> None:
        if int(steps_made(self.model.optimizer)) < self.model.warmup_steps:
            return  # nothing is known yet of the radius that is measured
        stands = one_step >= _LIKELY  # a model that falls to one step too has only learned little yet
        fell = self._best is not None and robust < _FALL * self._best[0] and one_step >= self._best[1] - _STAYS
        fell, apart = fell and stands, robust < _GAP * one_step and stands
        if fell or apart and (one_step >= _SURE or self._doubted):
            self._react(epoch, robust, one_step)
            return
        self._doubted = apart
        if apart:
            return
        if self._best is None or robust >= self._best[0]:
            self._best = robust, one_step
        if self.on_overfitting == "rollback":
            self._weights = self.model.get_weights()

    def _react(self, epoch: int, robust: float, one_step: float) -> None:
        self.overfitted_epoch = epoch
        before = "" if self._best is None else f" (before: {self._best[0]:.1%})"
        done = {"warn": "Training goes on.", "stop": "Training ends."}.get(self.on_overfitting)
        if done is None:
            back = (
                "goes back to the weights before and " if self._weights is not None else "has none to go back to and "
            )
            done = f"Training {back}ends."
        warnings.warn(
            f"RobustAccuracy, epoch {epoch}: catastrophic overfitting. Under {type(self.attack).__name__} accuracy is "
            f"{robust:.1%}{before}, under one step of FGSM {one_step:.1%}: the model has learned to fool one-step "
            f"attacks, and withstands no other. {done} What helps: a smaller learning rate, `warmup_steps`, a smaller "
            'epsilon, or method "standard" with a PGD of a few steps.',
            stacklevel=2,
        )
        if self.on_overfitting != "warn":
            self.model.stop_training = True
        if self.on_overfitting == "rollback" and self._weights is not None:
            self.model.set_weights(self._weights)


def check_attack(owner: str, attack: Attack) -> None:
    """Refuses attacks under which an accuracy says nothing: those with no limit, or with a goal of their own."""
    if attack.targeted or attack.minimal:
        expected = "untargeted and with a limit to what it changes"
        advice = "One that looks for the smallest change turns every example: `kas.evaluate_robustness` takes it."
        checks.fail(owner, "attack", expected, type(attack).__name__, advice if attack.minimal else "")


def check_classifier(owner: str, model: keras.Model, x: Any, y: Any, input_name: str | int | None) -> None:
    """Refuses a model of numbers, which are neither right nor wrong."""
    attacked = attacked_model(model)
    first, truth = next(iter(batches(owner, attacked, x, y, 250)))
    victim = victim_of(owner, attacked, first, input_name=input_name, y=truth if y is None else y, differentiated=False)
    if victim.head.kind == heads.NUMBERS:
        advice = "A regression model has no accuracy; see the loss of PGD."
        checks.fail(owner, "model", "a classifier", attacked.name, advice)


def attacked_model(model: keras.Model) -> keras.Model:
    """The model itself, or the one that a wrapper of ours trains."""
    return model.model if isinstance(model, Wrapper) else model


def robust_accuracy(
    model: keras.Model,
    attack: Attack,
    x: Any,
    y: Any = None,
    *,
    batch_limit: int | None = None,
    input_name: str | int | None = None,
) -> float:
    """The share of examples that a model gets right under an attack.

    Args:
        model: any Keras model, or a wrapper of one.
        attack: untargeted.
        x: the data, as attacks take them.
        y: the labels, or None where the data bring them.
        batch_limit: batches to attack; None takes all.
        input_name: which of several inputs is attacked.
    """
    found = attack.stream(attacked_model(model), x, y, input_name=input_name)
    return concatenate(list(itertools.islice(found, batch_limit))).robust_accuracy
