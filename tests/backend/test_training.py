"""Models of another backend that learn: from augmented data, from their own labels, and by the package's losses."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas

DRAW = np.random.default_rng(0)
Y = np.arange(60) % 3
X = (DRAW.uniform(0, 60, (60, 8, 8, 1)) + 90 * Y[:, None, None, None]).astype("float32")


def build():  # on torch, dropout without a seed draws from torch's own state, which nobody saves
    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.Input((8, 8, 1)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten(),
        keras.layers.Dropout(0.2, seed=1), keras.layers.BatchNormalization(momentum=0.5), keras.layers.Dense(3),
    ])  # fmt: skip
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.05), loss, metrics=["accuracy"])
    return model


def augmentation():
    return kas.Pipeline([kas.layers.RandomFlip(), kas.layers.RandomTranslation(0.1, 0.1)], seed=7)


def test_fit_learns_from_mapped_data():
    model, dataset = build(), tf.data.Dataset.from_tensor_slices((X, Y)).batch(20)
    history = model.fit(augmentation().map(dataset, seed=7), epochs=15, verbose=0)
    assert history.history["accuracy"][-1] > 0.8 > history.history["accuracy"][0]


@pytest.mark.parametrize("options", [
    {"select": kas.rules.Threshold(0.5)},
    {"select": kas.rules.Uncertainty(0.5, passes=3)},
    {"select": kas.rules.TopK(5), "labels": "hard", "teacher": "average", "temperature": 2.0},
], ids=["one pass", "dropout", "average"])  # fmt: skip
def test_self_training_labels_with_a_model_of_the_backend(options):
    model = build()
    if options.get("teacher") == "average":
        model.compile(keras.optimizers.Adam(0.05, use_ema=True, ema_momentum=0.5), model.loss, metrics=["accuracy"])
    training = kas.SelfTraining(X[12:], start_epoch=6, oracle=Y[12:], on_alarm="warn", **options)
    rows = training.training_set(X[:12], Y[:12], batch_size=12, augment=augmentation())
    history = model.fit(rows, epochs=8, callbacks=[training], verbose=0).history
    assert history["n_pseudo"][-1] > 0 and history["pseudo_accuracy"][-1] > 0.7


def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path):
    def run(epochs, directory, stop=None):
        model = build()
        select = kas.rules.TopK(4)
        training = kas.SelfTraining(X[12:], select=select, start_epoch=1, backup_dir=tmp_path / directory)
        rows = training.training_set(X[:12], Y[:12], batch_size=12, augment=augmentation())
        stopping = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: stop is not None and stop(epoch))
        model.fit(rows, epochs=epochs, callbacks=[training, stopping], verbose=0)
        return model.get_weights()

    def interrupt(epoch):
        if epoch == 2:
            raise KeyboardInterrupt

    whole = run(3, "whole")
    with pytest.raises(KeyboardInterrupt):
        run(3, "parts", interrupt)
    for found, expected in zip(run(3, "parts"), whole, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_trainer_makes_rounds():
    trainer = kas.SelfTrainer(build, rounds=1).fit(X[:12], Y[:12], X[12:], epochs=6, validation_data=(X, Y))
    assert trainer.n_iter_ == 1 and trainer.model_.evaluate(X, Y, verbose=0)[1] > 0.5


def test_a_backbone_embeds_a_pool():
    model = build()
    backbone = keras.Model(model.inputs, model.layers[-2].output)
    np.testing.assert_allclose(kas.embed(backbone, X), backbone.predict(X, verbose=0), rtol=1e-5, atol=1e-6)


def test_views_are_made_alike_by_their_loss():
    loss = kas.AugMixLoss(weight=12.0, views=2)
    alike, apart = np.array([[0.5, 0.5], [0.5, 0.5]]), np.array([[0.5, 0.5], [0.9, 0.1]])
    labels, first_row = np.array([0, 0]), np.array([1.0, 0.0])
    assert float(loss(labels, alike, first_row)) == pytest.approx(np.log(2)) and loss(labels, apart, first_row) > 1.5
    views = kas.losses.augmented_views(tf.data.Dataset.from_tensor_slices((X, Y)).batch(12), augmentation(), views=2)
    model = build()
    model.compile("adam", kas.AugMixLoss(model.loss, views=2))
    assert np.isfinite(model.fit(views, verbose=0).history["loss"][0])
