"""Adversarial training as users run it: in graphs, on batches of any size, from every source, on replicas."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl.adversarial.training.methods import METHODS
from tests.helpers import LOGITS


def two_inputs():
    parts = {"a": keras.Input((4,), name="a"), "b": keras.Input((2,), name="b")}
    return keras.Model(parts, keras.layers.Dense(3)(keras.layers.Concatenate()(list(parts.values()))))


def one_input(units=1):
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(units)])


def data(count):
    draw = np.random.default_rng(0)
    return draw.uniform(size=(count, 4)).astype("float32"), draw.integers(0, 3, count)


def losses(trainer, x, y, **options):
    return trainer.fit(x, y, verbose=0, **options).history["loss"]


@pytest.mark.parametrize("method", METHODS)
def test_two_inputs(method):
    """Keras gives batches a static size where it divides the length of the arrays, else a dynamic one."""
    trainer = kas.AdversarialTraining(two_inputs(), kas.PGD(0.1, steps=2), method, input_name="a")
    trainer.compile("sgd", LOGITS, jit_compile=False)
    for count in (8, 9):
        x, y = data(count)
        weight = np.linspace(0.5, 1.5, count)
        assert np.isfinite(losses(trainer, {"a": x, "b": 9.0 * x[:, :2]}, y, batch_size=4, sample_weight=weight)).all()


@pytest.mark.parametrize("method", ["standard", "free", "fast"])
def test_numbers(method):
    """A regression model is attacked by the loss it is fitted with, without that one has to name it."""
    trainer = kas.AdversarialTraining(one_input(2), kas.PGD(0.1, steps=2), method)
    trainer.compile("sgd", "mse", jit_compile=False)
    for count in (8, 9):
        x, _ = data(count)
        assert np.isfinite(losses(trainer, x, x[:, :2], batch_size=4)).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_every_source_gives_what_arrays_give(weighted):
    x, y = data(8)
    weight = (np.linspace(0.5, 1.5, 8).astype("float32"),) if weighted else ()
    rows = (x, y, *weight)
    batches = [tuple(part[i : i + 4] for part in rows) for i in (0, 4)]
    sources = [
        tf.data.Dataset.from_tensor_slices(rows).batch(4, drop_remainder=True),
        tf.data.Dataset.from_tensor_slices(rows).batch(4),
        (batch for batch in itertools.cycle(batches)),
    ]
    start = one_input(3).get_weights()
    found = []
    for source in [None, *sources]:
        model = one_input(3)
        model.set_weights(start)
        trainer = kas.AdversarialTraining(model, kas.FGSM(0.1))
        trainer.compile("sgd", LOGITS, run_eagerly=True)
        if source is None:
            trainer.fit(x, y, batch_size=4, sample_weight=weight[0] if weight else None, shuffle=False, verbose=0)
        else:
            trainer.fit(source, shuffle=False, verbose=0, steps_per_epoch=2)
        found.append(model.get_weights())
    for weights in found[1:]:
        assert all(np.allclose(one, other, atol=1e-6) for one, other in zip(weights, found[0], strict=True))


def test_an_ensemble_can_make_the_examples():
    trainer = kas.AdversarialTraining(one_input(3), kas.AutoAttack(0.1, version="fast"))
    trainer.compile("sgd", LOGITS, run_eagerly=True)
    for stage in trainer.training_attack.stages:
        stage.steps = 2
    assert np.isfinite(losses(trainer, *data(4))).all()


@pytest.mark.parametrize("method", ["standard", "n-fgsm", "free"])
def test_gradients_may_be_accumulated(method):
    x, y = data(12)
    trainer = kas.AdversarialTraining(one_input(3), kas.PGD(0.1, steps=2), method, warmup_steps=2)
    trainer.compile(keras.optimizers.Adam(0.01, gradient_accumulation_steps=2), LOGITS)
    watch = kas.RobustAccuracy(kas.PGD(0.1, steps=2), (x, y))
    assert np.isfinite(losses(trainer, x, y, batch_size=4, callbacks=[watch])).all()


@pytest.mark.parametrize(("method", "wrong"), [("n-fgsm", "inputs"), ("free", "budget"), ("trades", "budget")])
def test_nothing_out_of_bounds_passes_for_a_training_where_xla_leaves_assertions_out(method, wrong):
    x, y = data(8)
    batches = tf.data.Dataset.from_tensor_slices((5.0 * x if wrong == "inputs" else x, y)).batch(4)
    budget = (lambda x, y: tf.fill(tf.shape(y), 2.0)) if wrong == "budget" else None
    for compiled in (True, False):
        trainer = kas.AdversarialTraining(one_input(3), kas.PGD(0.1, steps=2), method, budget=budget)
        trainer.compile("sgd", LOGITS, jit_compile=compiled)
        if compiled:
            assert np.isnan(losses(trainer, batches, None)).all()
        else:
            with pytest.raises(tf.errors.InvalidArgumentError, match="must"):
                losses(trainer, batches, None)


def test_replicas_equal_one_on_the_whole_batch(tmp_path):
    """Loss and step of every method, with a regulariser and weights of examples, on two devices."""
    script = """
        import numpy as np, tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        import keras, keras_aug_ssl as kas
        from keras_aug_ssl.adversarial.training.methods import METHODS

        draw = np.random.default_rng(0)
        x, y, weight = draw.uniform(0.1, 0.9, (8, 4)).astype("float32"), draw.integers(0, 3, 8), draw.uniform(0.2, 3, 8)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

        def step(method, strategy, **options):
            with strategy.scope():
                keras.utils.set_random_seed(1)
                dense = keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.5))
                model = keras.Sequential([keras.Input((4,)), dense])
                trainer = model
                if method is not None:
                    trainer = kas.AdversarialTraining(model, kas.RandomFGSM(0.1), method, **options)
                trainer.compile(keras.optimizers.SGD(1.0), loss, jit_compile=False)
            size = 4 if method is None else 8
            history = trainer.fit(x, y, batch_size=size, shuffle=False, verbose=0, sample_weight=weight)
            return history.history["loss"], model.get_weights()

        mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        budget = lambda x, y: tf.cast(y, tf.float32) / 2.0
        options = {"clean_fraction": 0.3, "weight_perturbation": 0.1, "budget": budget}
        logs_hold = True  # Keras 3.8 loses a part of its own logs on replicas that update them more than once
        for method, options in [*((method, {}) for method in [None, *METHODS]), ("standard", options)]:
            loss_of_one, one = step(method, tf.distribute.get_strategy(), **options)
            loss_of_two, two = step(method, mirrored, **options)
            if method is None:
                logs_hold = np.allclose(loss_of_one, loss_of_two, atol=1e-5)
                assert logs_hold or keras.__version__.startswith("3.8.")
            assert not logs_hold or np.allclose(loss_of_one, loss_of_two, atol=1e-5), (method, loss_of_one, loss_of_two)
            for a, b in zip(one, two, strict=True):
                assert np.allclose(a, b, atol=1e-5), (method, one, two)

        with mirrored.scope():
            model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
            robust = kas.AdversarialTraining(model, kas.PGD(0.1, steps=2), warmup_steps=1)
            robust.compile(keras.optimizers.SGD(0.1, use_ema=True), loss)
        watch, training = kas.RobustAccuracy(kas.PGD(0.1, steps=2), (x, y)), kas.SelfTraining(x, teacher="average")
        batches = training.training_set(x, y, batch_size=4)
        history = robust.fit(batches, epochs=2, verbose=0, callbacks=[training, watch]).history
        assert len(history["robust_accuracy"]) == 2, history
        print("replicas agree")
    """
    path = tmp_path / "replicas.py"
    path.write_text(textwrap.dedent(script), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, env=environment, timeout=300)
    assert "replicas agree" in done.stdout, done.stderr[-3000:]
