"""What may be changed about adversarial training: shares of clean examples and of epsilon, perturbed weights, rows
without labels, accuracy under attack."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl.adversarial.training.methods import METHODS, Batch, Fast, Free, Virtual
from keras_aug_ssl.adversarial.training.trainer import _is_stream
from tests.helpers import LOGITS, equal_weights


def network(dropout=0.3, activation=None):
    layers = [
        keras.layers.Dense(6, kernel_initializer=keras.initializers.GlorotUniform(0)),
        keras.layers.BatchNormalization(),
        keras.layers.Activation("relu"),
        keras.layers.Dropout(dropout, seed=5),
        keras.layers.Dense(3, activation, kernel_initializer=keras.initializers.GlorotUniform(1)),
    ]
    return keras.Sequential([keras.Input((4,)), *layers])


def data(count=12):
    draw = np.random.default_rng(0)
    return draw.uniform(0.2, 0.8, (count, 4)).astype("float32"), np.arange(count) % 3


def fitted(method="standard", epsilon=0.1, model=None, stream=None, graphs=True, epochs=1, **options):
    """A trainer after an epoch of two steps; steps traced take longer than steps run, where there are few."""
    trainer = kas.AdversarialTraining(model or network(), kas.PGD(epsilon, steps=2), method, **options)
    trainer.compile(keras.optimizers.SGD(0.1), LOGITS, jit_compile=False, run_eagerly=not graphs)
    x, y = (stream, None) if stream is not None else data()
    trainer.fit(x, y, batch_size=6 if stream is None else None, epochs=epochs, shuffle=False, verbose=0)
    return trainer


@pytest.mark.parametrize("method", ["standard", "fast", Fast(2.0), Free(1)], ids=["standard", "fast", "far", "free"])
def test_without_a_radius_training_is_plain_bit_for_bit(method):
    """In graphs, with BatchNormalization and dropout."""
    x, y = data()
    plain = network()
    plain.compile(keras.optimizers.SGD(0.1), LOGITS, jit_compile=False)
    plain.fit(x, y, batch_size=6, shuffle=False, verbose=0)
    assert equal_weights(plain, fitted(method, epsilon=0.0).model)


@pytest.mark.parametrize(
    ("noise", "least", "mean", "most"), [(0.0, 1.0, 1.0, 1.0), (1.0, 0.25, 0.86, 1.0), (2.0, -1.0, 0.5, 1.0)]
)
def test_one_step_from_a_start_near_and_far(noise, least, mean, most):
    """Where the gradient always points the same way, u uniform in [-1, 1]: u + 1.25, or 2 u + 1, at most 1."""
    model = keras.Sequential([keras.Input((5000,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    x = np.full((1, 5000), 0.5, "float32")
    attack = Fast(noise).prepare(kas.PGD(0.1, seed=1))
    share = (attack(model, x, [0]).x_adv - x) / 0.1  # the loss of class 0 rises with every value
    np.testing.assert_allclose([share.min(), share.mean(), share.max()], [least, mean, most], atol=0.02)
    assert attack.get_config()["noise"] == noise and Fast.from_config(Fast(noise).get_config()).noise == noise


@pytest.mark.parametrize("method", ["standard", "trades", "virtual"])
def test_the_radius_rises_from_nothing_to_epsilon(method):
    """A warm-up's step t of n is a step of epsilon t / n."""
    rising = fitted(method, model=network(0.0), graphs=False, warmup_steps=8)  # two steps: 0 and 1/8
    model, optimizer, (x, y) = network(0.0), keras.optimizers.SGD(0.1), data()
    for rows, epsilon in ((slice(0, 6), 0.0), (slice(6, 12), 0.1 / 8)):
        trainer = kas.AdversarialTraining(model, kas.PGD(epsilon, steps=2), method)
        trainer.compile(optimizer, LOGITS, run_eagerly=True)
        trainer.fit(x[rows], y[rows], batch_size=6, shuffle=False, verbose=0)
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(rising.get_weights(), model.get_weights(), strict=True))
    shares = [float(rising._share(Batch(x, y, None), tf.constant(step, tf.int64))) for step in (0, 4, 8, 100)]
    assert shares == [0.0, 0.5, 1.0, 1.0]


def test_a_warm_up_is_one_graph():
    """Nothing is traced again as the radius grows."""
    traces = []

    def budget(x, y):
        traces.append(0)
        return tf.ones(tf.shape(x)[0])

    fitted(epochs=3, warmup_steps=5, budget=budget)
    assert len(traces) == 1


ATTACKS = [
    *((kind, "linf") for kind in (kas.FGSM, kas.RandomFGSM, kas.PGD, kas.BIM, kas.MomentumFGSM, kas.APGD, kas.Square)),
    *((kind, "l2") for kind in (kas.PGD, kas.Square)),
    *((kind, "l1") for kind in (kas.APGD, kas.GaussianNoise)),
]


@pytest.mark.parametrize(("kind", "norm"), ATTACKS, ids=lambda part: getattr(part, "__name__", part))
def test_a_budget_is_a_radius_for_each_example(kind, norm):
    """Each row is what a training with its own epsilon would make of it."""
    steps = {} if kind in (kas.FGSM, kas.RandomFGSM, kas.GaussianNoise) else {"steps": 3}
    x, y = data(3)
    victim = kas.AdversarialTraining(network(), kas.FGSM(0.1))
    victim.compile("sgd", LOGITS)
    victim = victim.victim(x, y)
    attack = kind(0.2, norm, **{**steps, **({"early_stop": False} if kind is kas.PGD else {})})
    shares, step = np.array([0.0, 0.5, 1.0], "float32"), tf.constant(0, tf.int64)
    found = attack.perturb(victim, x, y, step, tf.constant(shares)).numpy()
    for row, share in enumerate(shares):
        alone = attack.perturb(victim, x, y, step, tf.constant(share)).numpy()
        assert np.allclose(found[row], alone[row], atol=1e-6)
    assert np.array_equal(found[0], x[0])


def test_perturbed_weights_are_never_the_models():
    """Without a learning rate nothing changes but running averages, which move by one pass, as does dropout."""
    x, y = data()
    models = []
    for share in (0.0, 0.5):
        model = network()
        before = [value.numpy() for value in model.trainable_weights]
        trainer = kas.AdversarialTraining(model, kas.FGSM(0.0), weight_perturbation=share)
        trainer.compile(keras.optimizers.SGD(0.0), LOGITS, jit_compile=False)
        trainer.fit(x, y, batch_size=12, verbose=0, shuffle=False)
        assert all(np.array_equal(a, b) for a, b in zip(before, model.trainable_weights, strict=True))
        models.append(model)
    dropouts = [model.layers[3].seed_generator.state.numpy() for model in models]
    assert np.array_equal(*dropouts)
    assert (models[1].layers[1].moving_variance.numpy() != 1.0).all()


@pytest.mark.parametrize("method", METHODS)
def test_regularisers_count_once_at_perturbed_weights(method):
    """Of a model that can't answer otherwise only the regulariser has a gradient."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.5))])
    model.layers[0].kernel.assign(np.ones((4, 3)))  # equal columns: equal answers
    x, _ = data(12)
    trainer = kas.AdversarialTraining(model, kas.FGSM(0.0), method, weight_perturbation=0.1)
    trainer.compile(keras.optimizers.SGD(0.1), LOGITS, run_eagerly=True)
    weight = np.zeros(12)
    history = trainer.fit(x, np.arange(12) % 3, batch_size=12, sample_weight=weight, verbose=0).history
    updates = METHODS[method]().replays
    assert history["loss"][0] == pytest.approx(
        np.mean([0.5 * 12 * (1.1 * 0.89**i) ** 2 for i in range(updates)]), rel=1e-4
    )
    assert np.allclose(model.layers[0].kernel, (1.0 - 0.1 * 1.1) ** updates, atol=1e-5)


@pytest.mark.parametrize(("activation", "remainder"), [(None, 0), ("softmax", 1)])
def test_virtual_training_learns_from_rows_without_labels(activation, remainder):
    x, y = data(12)
    found = []
    for seed in (1, 2):
        pool = np.random.default_rng(seed).uniform(size=(24 - remainder, 4)).astype("float32")
        stream = kas.data.labeled_unlabeled((x, y), pool, batch_size=4, ratio=2, seed=0)
        model = network(activation=activation)
        trainer = kas.AdversarialTraining(model, kas.PGD(0.1), Virtual(alpha=2.0), warmup_steps=2)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=activation is None)
        trainer.compile("sgd", loss, metrics=["accuracy"], jit_compile=False, run_eagerly=seed == 2)
        history = trainer.fit(stream, epochs=2, verbose=0, validation_data=(x, y)).history
        assert sorted(history) == ["accuracy", "loss", "val_accuracy", "val_loss"]
        found.append(model)
    assert np.isfinite(found[0].get_weights()[0]).all() and not equal_weights(*found)


def test_other_methods_need_labels():
    x, y = data(12)
    stream = kas.data.labeled_unlabeled((x, y), x, batch_size=4, ratio=1)
    with pytest.raises(ValueError, match='`x` must be .x, y.*Only "virtual"'):
        fitted("trades", stream=stream)


def test_what_is_a_stream():
    one, row = network(), np.zeros((2, 4))
    assert _is_stream(one, ((row, row), row)) and not _is_stream(one, (row, row))
    parts = [keras.Input((4,)), keras.Input((4,))]
    model = keras.Model(parts, keras.layers.Concatenate()(parts))
    assert not _is_stream(model, ((row, row), row)) and _is_stream(model, (((row, row), row), (row, row)))


@pytest.mark.parametrize("kind", ["one-hot", "binary", "labels"])
@pytest.mark.parametrize("method", ["standard", "virtual"])
def test_other_heads(kind, method):
    x, y = data(12)
    units, activation, loss, labels = {
        "one-hot": (3, "softmax", "categorical_crossentropy", np.eye(3)[y]),
        "binary": (1, "sigmoid", "binary_crossentropy", (y > 0).astype("float32")),
        "labels": (3, "sigmoid", "binary_crossentropy", (np.eye(3)[y] + np.eye(3)[0]).clip(0, 1)),
    }[kind]
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(units, activation)])
    share = {"clean_fraction": 0.5} if method == "standard" else {}
    trainer = kas.AdversarialTraining(model, kas.PGD(0.1, steps=2), method, weight_perturbation=0.01, **share)
    trainer.compile("adam", loss, run_eagerly=True)
    assert np.isfinite(trainer.fit(x, labels, batch_size=5, verbose=0).history["loss"]).all()


@pytest.mark.parametrize("method", METHODS)
def test_half_precision(method):
    """Loss scaling, casts and the perturbation of weights in float16."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = network()
        trainer = kas.AdversarialTraining(model, kas.PGD(0.1, steps=1), method, weight_perturbation=0.01)
        trainer.compile(keras.optimizers.SGD(0.1), LOGITS, run_eagerly=True)
        before = [value.numpy() for value in model.trainable_weights]
        history = trainer.fit(*data(12), batch_size=12, epochs=5, verbose=0).history  # the scale of the loss comes down
    finally:
        keras.config.set_dtype_policy(policy)
    assert np.isfinite(history["loss"]).all()
    assert all(np.isfinite(value.numpy()).all() for value in model.weights if "seed" not in value.path)
    assert any(not np.array_equal(a, b) for a, b in zip(before, model.trainable_weights, strict=True))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras with NumPy 2
def test_it_is_saved_with_its_options(tmp_path):
    options = {"clean_fraction": 0.3, "warmup_steps": 3, "weight_perturbation": 0.01}
    trainer = fitted(graphs=False, model=network(0.0), **options)
    keras.saving.save_model(trainer, tmp_path / "wrapper.keras")
    loaded = keras.saving.load_model(tmp_path / "wrapper.keras")
    assert {name: getattr(loaded, name) for name in options} == options
    assert equal_weights(loaded.model, trainer.model)
    trainer.save(tmp_path / "model.keras")
    assert type(keras.saving.load_model(tmp_path / "model.keras")) is keras.Sequential
    x, y = data()
    for model in (trainer, loaded):
        model.fit(x, y, batch_size=6, epochs=1, shuffle=False, verbose=0)
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(trainer.get_weights(), loaded.get_weights(), strict=True))


def test_evaluate_under_attack():
    x, y = data()
    trainer = fitted(graphs=False)
    attack = kas.PGD(0.1, steps=5)
    found = trainer.evaluate(x, y, attack=attack, return_dict=True, verbose=0)
    assert found["robust_accuracy"] == pytest.approx(attack(trainer.model, x, y).robust_accuracy)
    assert trainer.evaluate(x, y, attack=attack, verbose=0) == pytest.approx(list(found.values()))
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(5)
    assert trainer.evaluate(batches, attack=attack, return_dict=True, verbose=0) == pytest.approx(found, abs=1e-5)
    assert trainer.evaluate(x, y, return_dict=True, verbose=0) == {"loss": pytest.approx(found["loss"])}


def test_errors_say_what_to_do():
    model = network()
    for arguments, message in (
        ({"clean_fraction": 1.0}, "`clean_fraction` must be a finite number in"),
        (
            {"clean_fraction": 0.5, "method": "trades"},
            '`clean_fraction` must be 0 .* "standard", "free", "fast", "n-fgsm"',
        ),
        ({"warmup_steps": -1}, "`warmup_steps`"),
        ({"weight_perturbation": -0.1}, "`weight_perturbation`"),
        ({"attack": kas.SpatialAttack(), "warmup_steps": 5}, "`attack` must be one with an epsilon"),
    ):
        with pytest.raises(ValueError, match=message):
            kas.AdversarialTraining(model, **{"attack": kas.FGSM(0.1), **arguments})
    with pytest.raises(TypeError, match="`budget` must be a function"):
        kas.AdversarialTraining(model, kas.FGSM(0.1), budget=0.5)
    with pytest.raises(ValueError, match="`budget` must be such that it returns one share an example"):
        fitted(graphs=False, budget=lambda x, y: 0.5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="`budget` must return shares"):
        fitted(graphs=False, budget=lambda x, y: 2.0 * tf.ones(tf.shape(x)[0]))
