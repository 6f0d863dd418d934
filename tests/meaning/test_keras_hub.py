"""KerasHub's own tasks, where it is installed."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_aug_ssl as kas

keras_hub = pytest.importorskip("keras_hub")
pytestmark = pytest.mark.filterwarnings("ignore")  # its own, of packages it does without


def images(count: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """Dark and bright images in 0..255, larger than the backbone's."""
    y = np.arange(count) % 2
    noise = np.random.default_rng(0).normal(scale=10.0, size=(count, 20, 20, 3))
    return np.clip(noise + 90 + 70 * y[:, None, None, None], 0, 255).astype("float32"), y


def task() -> keras.Model:
    keras.utils.set_random_seed(0)
    backbone = keras_hub.models.ViTBackbone(
        image_shape=(16, 16, 3), patch_size=4, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=16
    )
    converter = keras_hub.layers.ViTImageConverter(image_size=(16, 16), scale=1 / 127.5, offset=-1.0)
    preprocessor = keras_hub.models.ViTImageClassifierPreprocessor(image_converter=converter)
    model = keras_hub.models.ViTImageClassifier(backbone, 2, preprocessor=preprocessor, activation="softmax")
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


X, Y = images()


def test_one_accuracy_everywhere_and_the_training_set_fits():
    model = task()
    st = kas.SelfTraining(X[20:], kas.rules.Threshold(0.6), start_epoch=6, oracle=Y[20:])
    training_set = st.training_set(X[:20], Y[:20], batch_size=20, steps=4)
    with pytest.raises(TypeError, match="as_dataset"):
        model.fit(training_set, callbacks=[st], verbose=0)
    history = model.fit(training_set.as_dataset(), epochs=8, callbacks=[st], validation_data=(X, Y), verbose=0).history
    assert history["val_accuracy"][-1] == 1.0 and history["pseudo_accuracy"][-1] == 1.0
    expected = np.sum(model.predict(X, verbose=0).max(axis=1) >= 0.6)
    found = kas.calibration.dry_run(model, X, kas.rules.Threshold(0.6), X, Y)
    assert found.added == expected and found.precision == 1.0
    report = kas.evaluate_robustness(model, (X, Y), [kas.FGSM()], [1], bounds=(0, 255), checks=False)
    assert report.clean_accuracy == 1.0
    np.testing.assert_array_equal(kas.certify(model, X[:4], 5.0, n0=20, n=40).prediction, Y[:4])


def test_adversarial_training_trains_the_task():
    robust = kas.AdversarialTraining(task(), kas.PGD(2.0, steps=2, bounds=(0, 255)))
    robust.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    robust.fit(X, Y, epochs=6, batch_size=20, verbose=0)
    assert robust.evaluate(X, Y, verbose=0)[1] == robust.model.evaluate(X, Y, verbose=0)[1] == 1.0
