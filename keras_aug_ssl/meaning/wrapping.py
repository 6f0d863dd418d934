"""A model that trains another in its own way, and is the other in everything else."""

from __future__ import annotations

from typing import Any

import keras

from keras_aug_ssl import backend, checks
from keras_aug_ssl.meaning import calling


class Wrapper(keras.Model):
    """Base of models that train the model they wrap: it calls, compiles, saves and exports as the wrapped one.

    Args:
        model: the wrapped model, whose weights it shares.
    """

    def __init__(self, model: keras.Model, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        backend.require_tensorflow(type(self).__name__)
        if not isinstance(model, keras.Model):
            checks.fail(type(self).__name__, "model", "a keras.Model", type(model).__name__, error=TypeError)
        self.model = model
        self.built = model.built

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The wrapped model's outputs for inputs as its own `fit` and `predict` take them."""
        route = calling.graph_route(type(self).__name__, self.model, inputs, training=True)
        return route(self.model, inputs, training)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compiles the wrapper and, with the same optimizer, loss and metrics, the wrapped model."""
        super().compile(*args, **kwargs)
        names = (
            "optimizer", "loss", "loss_weights", "metrics", "weighted_metrics", "run_eagerly", "steps_per_execution",
            "jit_compile",
        )  # fmt: skip
        shared = {name: kwargs[name] for name in names if name in kwargs} | dict(zip(names, args, strict=False))
        self.model.compile(**{**shared, "optimizer": self.optimizer})

    def compile_like(self, model: keras.Model) -> None:
        """Compiles as `model` is, with an optimizer of the same settings that has made no step."""
        # What `get_compile_config` writes for a file: functions and classes of the user's need not be registered here.
        self.compile(**{**model._compile_config.config, "optimizer": _unused(model.optimizer)})

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as `get_compile_config` says, when a saved wrapper is loaded."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None and self.built:
            self.optimizer.build(self.trainable_variables)

    def save(self, filepath: Any, **kwargs: Any) -> None:
        """Saves the wrapped model, compiled; `keras.saving.save_model(wrapper, filepath)` saves the wrapper."""
        self.model.save(filepath, **kwargs)

    def export(self, filepath: Any, **kwargs: Any) -> None:
        """Exports the wrapped model."""
        self.model.export(filepath, **kwargs)


def _unused(optimizer: Any) -> Any:
    """An optimizer of the same class and settings."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # mixed precision wraps it
    parts = [optimizer, inner]
    if isinstance(inner._learning_rate, keras.optimizers.schedules.LearningRateSchedule):
        parts.append(inner._learning_rate)
    with keras.saving.custom_object_scope({type(part).__name__: type(part) for part in parts}):
        return type(optimizer).from_config(optimizer.get_config())
