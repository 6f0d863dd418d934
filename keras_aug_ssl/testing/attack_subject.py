"""What a law looks at: an attack that can be made again and again, and a network of every kind to show it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_aug_ssl.adversarial.attacks.universal import UniversalPerturbation
from keras_aug_ssl.adversarial.search.attack import Attack
from keras_aug_ssl.adversarial.search.results import AttackResult

SHAPE = (5, 5, 1)
SIZE = 25
CLASSES = 3
RADIUS = {"linf": 0.1, "l2": 0.4, "l1": 1.5}
"""Radii within which some of the pictures can be turned on the curved network."""
DUAL: dict[str, Callable[[np.ndarray], float]] = {
    "linf": lambda slope: float(np.abs(slope).sum()),
    "l2": lambda slope: float(np.sqrt(np.square(slope).sum())),
    "l1": lambda slope: float(np.abs(slope).max()),
}


class Network:
    """One small network with a straight and a curved path, whose weights make it what a law needs.

    Tracing an attack takes seconds, and a graph serves all weights of its model.

    Args:
        probabilities: a softmax ends it.

    Attributes:
        model: compiled, with BatchNormalization statistics unlike a batch's.
        slope: (SIZE,) by which the logit of class 0 rises above that of class 1 when the network is linear.
    """

    def __init__(self, probabilities: bool = False) -> None:
        inputs = keras.Input(SHAPE)
        values = keras.layers.Flatten()(inputs)
        hidden = keras.layers.BatchNormalization(name="norm")(keras.layers.Dense(8, "gelu", name="hidden")(values))
        line, bend = keras.layers.Dense(CLASSES, name="line"), keras.layers.Dense(CLASSES, name="bend")
        outputs = keras.layers.Add()([line(values), bend(hidden)])
        self.model = keras.Model(inputs, keras.layers.Softmax()(outputs) if probabilities else outputs)
        self.model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=not probabilities))
        self.model.optimizer.build(self.model.trainable_variables)
        draw = np.random.default_rng(7)
        self._weights = {
            variable.path: draw.uniform(0.5, 1.5, variable.shape) if "norm" in variable.path
            else draw.normal(0.0, 0.7, variable.shape)
            for variable in self.model.weights
        }  # fmt: skip
        signs = np.where(draw.uniform(size=SIZE) < 0.5, -1.0, 1.0)
        self.slope = signs * draw.uniform(0.5, 1.5, SIZE)

    def become(self, kind: str, bias: float = 0.0) -> keras.Model:
        """Returns the model with the weights of a kind.

        Args:
            kind: "curved"; "raised", the same with 100 added to every logit; "linear", which ranks class 0 before class
                1 by `slope` @ x + `bias` and class 2 last; "masked", the same with class 2 at minus infinity;
                "constant", which always says class 0; "broken", whose outputs aren't finite.
            bias: of the linear and the masked network.
        """
        for variable in self.model.weights:
            value = self._weights[variable.path]
            if kind not in ("curved", "raised") and variable.path.startswith(("line", "bend")):
                value = np.zeros(variable.shape)
            variable.assign(value)
        kernel, offset = self.model.get_layer("line").weights
        if kind in ("linear", "masked"):
            kernel.assign(np.stack([self.slope, -self.slope, 0.0 * self.slope], axis=1) / 2.0)
            offset.assign([bias / 2.0, -bias / 2.0, -50.0 if kind == "linear" else -np.inf])
        elif kind == "raised":
            offset.assign_add([100.0] * CLASSES)
        elif kind != "curved":
            offset.assign([1.0, 0.0, -1.0] if kind == "constant" else [1.0, np.nan, np.inf])
        return self.model

    def scores(self, x: Any) -> np.ndarray:
        """(N, CLASSES) outputs."""
        return np.asarray(self.model(np.asarray(x, np.float32), training=False))


@functools.cache
def network(probabilities: bool = False) -> Network:
    """The network that all laws share, and so its graphs."""
    return Network(probabilities)


@functools.cache
def sigmoids() -> keras.Model:
    """A linear model whose classes are told by sigmoids, often two of them high; the same for all laws."""
    model = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(CLASSES, "sigmoid")])
    kernel = np.random.default_rng(4).normal(size=(int(np.prod(SHAPE)), CLASSES))
    model.set_weights([kernel, -0.5 * kernel.sum(axis=0)])  # about as often yes as no
    model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
    return model


class Task(keras.Model):
    """The network as a task that mirrors values of 0..1 before it answers, as tasks scale theirs."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self.network = model
        self.compile("adam", model.loss)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The network's outputs for inputs that are prepared already."""
        return self.network(inputs, training=training)

    def preprocess_samples(self, x: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """What `predict` does to its inputs, under the name that KerasHub gave it."""
        return keras.utils.pack_x_y_sample_weight(1.0 - x, y, sample_weight)

    def predict(self, x: Any, *arguments: Any, **options: Any) -> np.ndarray:
        """The network's outputs for inputs as a user has them."""
        return np.asarray(self(self.preprocess_samples(x), training=False))


def pictures(count: int = 6, seed: int = 0) -> np.ndarray:
    """(count, *SHAPE) float32 in [0, 1], a third of the values exactly at a bound."""
    values = np.random.default_rng(seed).uniform(-0.25, 1.25, (count, *SHAPE))
    return np.clip(values, 0.0, 1.0).astype(np.float32)


class AttackSubject:
    """An attack under test.

    Args:
        make: makes a new attack, the same each time.
        optimality: share of what is possible on a linear model that the attack must attain.

    Attributes:
        name: its class.
        norm: in which it measures.
    """

    def __init__(self, make: Callable[[], Attack], optimality: float = 0.95) -> None:
        self.make = make
        self.optimality = optimality
        self._attack = make()
        self.name = type(self._attack).__name__
        self.norm = self._attack.norm

    def attack(self, share: float = 1.0, **changes: Any) -> Attack:
        """A new attack for inputs in [0, 1], with `share` of the usual radius where it needs one, and some changes."""
        config = {**self._attack.get_config(), "bounds": (0.0, 1.0)}
        if self.has_ball and self._attack.needs_epsilon:
            config["epsilon"] = share * RADIUS[self.norm]
        return type(self._attack).from_config({**config, **changes})

    def run(self, x: Any = None, y: Any = None, kind: str = "curved", **changes: Any) -> AttackResult:
        """The attack on pictures (by default some that the network gets right but for the last) and labels."""
        model = network().become(kind)
        x = pictures() if x is None else x
        return self.attack(**changes)(model, x, self.labels(x) if y is None else y)

    def labels(self, x: Any) -> np.ndarray:
        """(N,) what the network says as it is, and something else of the last of several pictures."""
        labels = network().scores(x).argmax(axis=1)
        if len(labels) > 1:
            labels[-1] = (labels[-1] + 1) % CLASSES
        return labels

    def size(self, change: Any) -> np.ndarray:
        """(N,) norms of perturbations, in double precision."""
        values = np.abs(np.asarray(change, np.float64).reshape(len(change), -1))
        if self.norm == "linf":
            return values.max(axis=1)
        return values.sum(axis=1) if self.norm == "l1" else np.sqrt(np.square(values).sum(axis=1))

    # --- what kind of attack it is ----------------------------------------------------------------------------------

    @property
    def has_ball(self) -> bool:
        """Whether an epsilon limits the perturbation."""
        return "epsilon" in self._attack.get_config()

    @property
    def minimal(self) -> bool:
        """Whether it looks for the smallest perturbation."""
        return self._attack.minimal

    @property
    def independent(self) -> bool:
        """Whether an example's result doesn't depend on the rest of its batch."""
        return not isinstance(self._attack, UniversalPerturbation)

    @property
    def can_be_targeted(self) -> bool:
        try:
            self.attack(targeted=True)
        except ValueError:
            return False
        return True
