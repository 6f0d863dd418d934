"""Laws about how an attack is run: what it leaves alone, what may change around it, and what may not matter."""

from __future__ import annotations

import json
import random
from typing import Any

import keras
import numpy as np

from keras_aug_ssl.testing.attack_subject import (
    CLASSES,
    RADIUS,
    SHAPE,
    AttackSubject,
    Task,
    network,
    pictures,
    sigmoids,
)
from keras_aug_ssl.testing.laws import Law, broken, register, same

LAWS: list[Law] = []


@register(LAWS, "a batch equals singles", lambda subject: subject.independent, graphs=True)
def batch_equals_singles(subject: AttackSubject) -> None:
    """An example gets the same result alone as among others."""
    x = pictures()
    together = subject.run(x)
    labels = subject.labels(x)
    for number in range(len(x)):
        one = slice(number, number + 1)
        alone = subject.run(x[one], labels[one])
        same(alone.success, together.success[one], f"success of example {number}, alone and in a batch,")
        same(alone.x_adv, together.x_adv[one], f"example {number}, alone and in a batch,", 1e-3)


@register(LAWS, "same seed, same result", graphs=True)
def same_seed_same_result(subject: AttackSubject) -> None:
    """A second attack gives the same examples, to the bit."""
    same(subject.run().x_adv, subject.run().x_adv, "examples of two calls")


@register(LAWS, "the model is left alone", graphs=True)
def model_is_left_alone(subject: AttackSubject) -> None:
    """Weights, BatchNormalization statistics, optimizer, trainable flags and global seeds are as before."""
    model = network().become("curved")
    before = _state(model)
    subject.run()
    for name, value in _state(model).items():
        same(value, before[name], f"{name} after and before")


def _state(model: keras.Model) -> dict[str, Any]:
    variables = [*model.weights, *model.optimizer.variables]
    return {
        **{variable.path: variable.numpy().copy() for variable in variables},
        "trainable flags": [layer.trainable for layer in model.layers],
        "NumPy's global state": np.random.get_state(legacy=False)["state"]["key"],
        "Python's global state": random.getstate()[1],
    }


@register(LAWS, "the model is seen as it is now", graphs=True)
def model_is_seen_as_it_is_now(subject: AttackSubject) -> None:
    """When an activation was replaced since the last attack, success is what the model says after that."""
    layers = [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3, kernel_initializer="orthogonal")]
    model, x = keras.Sequential(layers), pictures()
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    attack, labels = subject.attack(), np.asarray(model(x)).argmax(axis=1)
    attack(model, x, labels)
    model.layers[-1].activation = lambda outputs: -outputs
    labels = np.asarray(model(x)).argmax(axis=1)
    result = attack(model, x, labels)
    same(result.success, np.asarray(model(result.x_adv)).argmax(axis=1) != labels, "success told and measured")


@register(LAWS, "inputs are left alone", graphs=True)
def inputs_are_left_alone(subject: AttackSubject) -> None:
    """The caller's arrays are not written to, and what comes back is no view of them."""
    model, x = network().become("curved"), pictures()
    labels = subject.labels(x)
    kept = x.copy(), labels.copy()
    result = subject.attack()(model, x, labels)
    same(x, kept[0], "inputs after and before")
    same(labels, kept[1], "labels after and before")
    if np.shares_memory(result.x_adv, x):
        broken("the examples are a view of the inputs")


@register(LAWS, "no retrace on the second call", graphs=True)
def second_call_does_not_retrace(subject: AttackSubject) -> None:
    """A second call runs the graph it has, also for another number of examples, epsilon, bounds and seed."""
    traces: list[str] = []
    model = network().become("curved")
    changes = {"epsilon": 0.5 * RADIUS[subject.norm]} if subject.has_ball else {}
    attacks = [subject.attack(), subject.attack(**changes, bounds=(-1.0, 2.0), seed=5)]
    for number, attack in enumerate(attacks):
        _count(attack, traces)
        attack(model, pictures(5 + 4 * number), np.zeros(5 + 4 * number, int))
        if number == 0:
            traces.clear()
    if traces:
        broken(f"the second call states the problem anew {len(traces)} time(s)")


def _count(attack: Any, traces: list[str]) -> None:
    """Notes in `traces` whenever the attack's Python runs, as it does only to make a graph."""
    objective = attack.objective

    def counted(*arguments: Any) -> Any:
        traces.append(type(attack).__name__)
        return objective(*arguments)

    attack.objective = counted


@register(LAWS, "mask and bounds of each value hold")
def mask_and_bounds_hold(subject: AttackSubject) -> None:
    """Masked values stay to the bit, and every value stays inside the bounds of its own."""
    x = 0.1 + 0.8 * pictures(4)
    x[:, 0, 0] = 0.5
    draw = np.random.default_rng(2)
    low, high = (np.float32(end) + 0.1 * draw.uniform(-1.0, 0.0, SHAPE).astype(np.float32) for end in (0.1, 1.0))
    low[0, 0] = high[0, 0] = 0.5
    mask = draw.integers(0, 2, (len(x) if subject.independent else 1, *SHAPE))
    mask[:, 1] = 1
    model = network().become("curved")
    x_adv = subject.attack(bounds=(low, high))(model, x, subject.labels(x), mask=mask).x_adv
    fixed = np.broadcast_to(mask == 0, x.shape)
    same(x_adv[fixed], x[fixed], "masked values after and before")
    if (x_adv < low).any() or (x_adv > high).any():
        broken(f"{np.sum((x_adv < low) | (x_adv > high))} values leave the bounds of their own")


@register(LAWS, "every dtype is read alike", graphs=True)
def every_dtype_is_read_alike(subject: AttackSubject) -> None:
    """uint8, int64 and float64 inputs give, in float32, what the same values in float32 give."""
    x = np.round(255.0 * pictures())
    changes: dict[str, Any] = {"share": 255.0, "bounds": (0.0, 255.0)}
    expected = subject.run(x.astype("float32"), **changes).x_adv
    for dtype in ("uint8", "int64", "float64"):
        same(subject.run(x.astype(dtype), **changes).x_adv, expected, f"examples from {dtype} and from float32")


@register(LAWS, "probabilities are as good as logits")
def probabilities_are_as_good_as_logits(subject: AttackSubject) -> None:
    """A model that ends with a softmax is fooled on the same examples, and without labels its own answers count."""
    x = pictures(4)
    model = network().become("curved")
    decisions = network().scores(x).argmax(axis=1)
    logits = subject.attack()(model, x, decisions).success
    model = network(probabilities=True).become("curved")
    same(subject.attack()(model, x).success, logits, "success on probabilities and on logits")


@register(LAWS, "a task's preparation counts")
def a_tasks_preparation_counts(subject: AttackSubject) -> None:
    """Of a task that prepares its inputs in `predict`, success is what `predict` says of the examples."""
    task, x = Task(network().become("curved")), pictures(4)
    labels = task.predict(x).argmax(axis=1)
    result = subject.attack()(task, x, labels)
    now = task.predict(result.x_adv).argmax(axis=1)
    same(result.success, now != labels, "success told and by predict")


@register(LAWS, "labels mean what evaluate makes of them", graphs=True)
def labels_mean_what_evaluate_makes_of_them(subject: AttackSubject) -> None:
    """Of classes told by sigmoids, each of which could be read by itself, success is what `evaluate` calls wrong."""
    model, x = sigmoids(), pictures(8)
    y = np.eye(CLASSES)[np.asarray(model(x)).argmax(axis=1)]
    y[-1] = np.roll(y[-1], 1)
    result = subject.attack(share=0.2)(model, x, y)
    accuracy = model.evaluate(result.x_adv, y, verbose=0)[1]
    same(np.mean(~result.success), accuracy, "what is left and what evaluate says", 1e-6)


@register(LAWS, "config round trip", graphs=True)
def config_round_trip(subject: AttackSubject) -> None:
    """The config is JSON, and an attack made from it has the same config and finds the same."""
    attack = subject.make()
    other = keras.saving.deserialize_keras_object(json.loads(json.dumps(keras.saving.serialize_keras_object(attack))))
    if json.dumps(other.get_config(), sort_keys=True) != json.dumps(attack.get_config(), sort_keys=True):
        broken(f"the config {attack.get_config()} comes back as {other.get_config()}")
    model, x = network().become("curved"), pictures()
    labels = subject.labels(x)
    same(other(model, x, labels).x_adv, attack(model, x, labels).x_adv, "examples of the new attack and the old")
