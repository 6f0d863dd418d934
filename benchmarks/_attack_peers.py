"""The attacks of every contender, each on its own copy of the network.

A contender is a function of the weights that returns `(predict, attacks)`: `predict` maps digits (B, 28, 28, 1) to
classes (B,), and `attacks` maps a name to a function of `(x, y, epsilon)` that returns attacked digits. Its library is
imported inside, since no environment holds them all.
"""

from __future__ import annotations

import numpy as np

BATCH = 250
STEPS = 40  # of PGD, each of a tenth of epsilon, from the digit itself


def ours(weights):
    """keras_aug_ssl."""
    import keras

    import keras_aug_ssl as kas

    model = _keras_network(weights)

    def attack(make):
        return lambda x, y, epsilon: make(epsilon)(model, x, y).x_adv

    def pgd(epsilon, early_stop, loss="auto"):
        return kas.BIM(epsilon, steps=STEPS, step_size=epsilon / 10, early_stop=early_stop, loss=loss)

    peers_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    recipes = {
        "FGSM, judged": kas.FGSM,
        "PGD": lambda epsilon: pgd(epsilon, early_stop=False),
        "PGD, leaving early": lambda epsilon: pgd(epsilon, early_stop=True),
        "PGD, the peers' loss": lambda epsilon: pgd(epsilon, False, peers_loss),
        "APGD-CE": lambda epsilon: kas.APGD(epsilon, loss="crossentropy"),
        "APGD-T": lambda epsilon: kas.APGD(epsilon, loss="targeted"),
        "FAB-T": kas.FAB,
        "Square": kas.Square,
        "AutoAttack": kas.AutoAttack,
        "AutoAttack, two parts": lambda epsilon: kas.AutoAttack(epsilon, version="fast"),
        "DeepFool": lambda _: kas.DeepFool(),
        "Carlini-Wagner": lambda _: kas.CarliniWagner(),
        "DDN": lambda _: kas.DDN(),
        "FMN L2": lambda _: kas.FMN(norm="l2"),
        "FMN Linf": lambda _: kas.FMN(norm="linf"),
    }
    attacks = {name: attack(make) for name, make in recipes.items()}
    return _predictor(model), {**attacks, "FGSM": lambda x, y, epsilon: kas.fgsm(model, x, y, epsilon)}


def foolbox(weights):
    """Foolbox on TensorFlow."""
    import eagerpy
    import tensorflow as tf
    from foolbox import TensorFlowModel, attacks

    model = _keras_network(weights)
    wrapped = TensorFlowModel(model, bounds=(0, 1))

    def attack(searcher, minimal=True):
        def run(x, y, epsilon):
            x, y = eagerpy.astensors(tf.constant(x), tf.constant(y))
            return searcher(epsilon)(wrapped, x, y, epsilons=None if minimal else epsilon)[1].raw.numpy()

        return run

    def pgd(epsilon):
        return attacks.LinfPGD(steps=STEPS, abs_stepsize=epsilon / 10, random_start=False)

    recipes = {
        "DeepFool": lambda _: attacks.L2DeepFoolAttack(),
        "Carlini-Wagner": lambda _: attacks.L2CarliniWagnerAttack(steps=1000),
        "DDN": lambda _: attacks.DDNAttack(),
        "FMN L2": lambda _: attacks.L2FMNAttack(),
        "FMN Linf": lambda _: attacks.LInfFMNAttack(),
    }
    limited = {"FGSM": lambda _: attacks.LinfFastGradientAttack(), "PGD": pgd}
    return _predictor(model), {
        **{name: attack(make) for name, make in recipes.items()},
        **{name: attack(make, minimal=False) for name, make in limited.items()},
    }


def cleverhans(weights):
    """CleverHans on TensorFlow 2."""
    import tensorflow as tf
    from cleverhans.tf2.attacks.fast_gradient_method import fast_gradient_method
    from cleverhans.tf2.attacks.projected_gradient_descent import projected_gradient_descent

    model = _keras_network(weights)

    def fgsm(x, y, epsilon):
        return fast_gradient_method(model, tf.constant(x), epsilon, np.inf, clip_min=0, clip_max=1, y=y).numpy()

    def pgd(x, y, epsilon):
        x_adv = projected_gradient_descent(
            model, tf.constant(x), epsilon, epsilon / 10, STEPS, np.inf, clip_min=0, clip_max=1, y=y,
            rand_init=False, sanity_checks=False,
        )  # fmt: skip
        return x_adv.numpy()

    return _predictor(model), {"FGSM": fgsm, "PGD": pgd}


def art(weights):
    """The Adversarial Robustness Toolbox on TensorFlow 2."""
    import keras
    from art.attacks import evasion
    from art.estimators.classification import TensorFlowV2Classifier

    model = _keras_network(weights)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    wrapped = TensorFlowV2Classifier(
        model, nb_classes=10, input_shape=(28, 28, 1), loss_object=loss, clip_values=(0, 1)
    )

    def attack(make):
        return lambda x, y, epsilon: make(epsilon).generate(x, y)

    def pgd(epsilon):
        return evasion.ProjectedGradientDescent(
            wrapped, np.inf, epsilon, epsilon / 10, max_iter=STEPS, batch_size=BATCH, verbose=False
        )

    recipes = {
        "FGSM": lambda epsilon: evasion.FastGradientMethod(wrapped, eps=epsilon, batch_size=BATCH),
        "PGD": pgd,
        "Carlini-Wagner": lambda _: evasion.CarliniL2Method(wrapped, batch_size=BATCH, verbose=False),
    }
    return _predictor(model), {name: attack(make) for name, make in recipes.items()}


def torchattacks(weights):
    """torchattacks, with the 100 steps of the papers where its default is 10."""
    import torch
    import torchattacks as ta

    torch.set_num_threads(1)
    model = _torch_network(torch, weights)

    def attack(make):
        def run(x, y, epsilon):
            x_adv = make(epsilon)(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()), torch.from_numpy(y))
            return x_adv.detach().numpy().transpose(0, 2, 3, 1)

        return run

    def predict(x):
        with torch.no_grad():
            return model(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).argmax(1).numpy()

    recipes = {
        "FGSM": lambda epsilon: ta.FGSM(model, epsilon),
        "PGD": lambda epsilon: ta.PGD(model, epsilon, epsilon / 10, STEPS, random_start=False),
        "APGD-CE": lambda epsilon: ta.APGD(model, eps=epsilon, steps=100),
        "APGD-T": lambda epsilon: ta.APGDT(model, eps=epsilon, steps=100),
        "FAB-T": lambda epsilon: ta.FAB(model, eps=epsilon, steps=100, multi_targeted=True),
        "Square": lambda epsilon: ta.Square(model, eps=epsilon),
        "AutoAttack, 10 steps": lambda epsilon: ta.AutoAttack(model, eps=epsilon, seed=0),
        "DeepFool": lambda _: ta.DeepFool(model),
        "Carlini-Wagner": lambda _: ta.CW(model, steps=1000),
    }
    parts = [recipes[name] for name in ("APGD-CE", "APGD-T", "FAB-T", "Square")]
    recipes["AutoAttack"] = lambda epsilon: ta.MultiAttack([part(epsilon) for part in parts])
    recipes["AutoAttack, two parts"] = lambda epsilon: ta.MultiAttack([part(epsilon) for part in parts[:2]])
    return predict, {name: attack(make) for name, make in recipes.items()}


CONTENDERS = {
    "keras_aug_ssl": ours,
    "Foolbox": foolbox,
    "CleverHans": cleverhans,
    "ART": art,
    "torchattacks": torchattacks,
}


def network():
    """Two convolutions and two dense layers that end in logits, in Keras; 56,714 weights."""
    import keras

    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10),
        ]
    )


def _keras_network(weights):
    model = network()
    model.set_weights(weights)
    return model


def _predictor(model):
    return lambda x: np.asarray(model(x, training=False)).argmax(1)


def _torch_network(torch, weights):
    """The same network in PyTorch's order of axes; Keras flattens height, width, channels."""
    nn = torch.nn

    class Flatten(nn.Module):
        def forward(self, x):
            return x.permute(0, 2, 3, 1).flatten(1)

    layers = [nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2)]
    model = nn.Sequential(*layers, Flatten(), nn.Linear(800, 64), nn.ReLU(), nn.Linear(64, 10)).eval()
    with torch.no_grad():
        for parameter, array in zip(model.parameters(), weights, strict=True):
            axes = (3, 2, 0, 1) if array.ndim == 4 else range(array.ndim)[::-1]
            parameter.copy_(torch.from_numpy(array.transpose(axes).copy()))
    return model
