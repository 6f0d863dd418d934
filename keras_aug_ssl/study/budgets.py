"""Which methods a study compares and how long each trains: a few in minutes, or all that there are in an evening."""

from __future__ import annotations

from typing import NamedTuple

from keras_aug_ssl import consistency
from keras_aug_ssl.study.methods import Make, Method, consistent, recipe


def _share(steps: int, parts: int) -> int:
    return max(1, steps // parts)


MOMENTUM = 0.99
"""Of running averages: of a few thousand steps, the papers' 0.999 would remember the beginning."""

CONSISTENCY: dict[str, Make] = {
    "PseudoLabel": lambda network, weak, strong, steps, seed: consistency.PseudoLabel(
        network, weak, threshold=0.95, ramp_steps=_share(steps, 2), start_step=steps // 10, seed=seed
    ),
    "PiModel": lambda network, weak, strong, steps, seed: consistency.PiModel(
        network, weak, ramp_steps=_share(steps, 3), seed=seed
    ),
    "MeanTeacher": lambda network, weak, strong, steps, seed: consistency.MeanTeacher(
        network, weak, decay=0.99, ramp_steps=_share(steps, 3), seed=seed
    ),
    "VAT": lambda network, weak, strong, steps, seed: consistency.VAT(
        network, weak, epsilon=2.0, entropy=1.0, seed=seed
    ),
    "MixMatch": lambda network, weak, strong, steps, seed: consistency.MixMatch(
        network, weak, ramp_steps=_share(steps, 2), seed=seed
    ),
    "UDA": lambda network, weak, strong, steps, seed: consistency.UDA(network, weak, strong, seed=seed),
    "FixMatch": lambda network, weak, strong, steps, seed: consistency.FixMatch(network, weak, strong, seed=seed),
    "FlexMatch": lambda network, weak, strong, steps, seed: consistency.FlexMatch(
        network, weak, strong, momentum=MOMENTUM, seed=seed
    ),
    "FreeMatch": lambda network, weak, strong, steps, seed: consistency.FreeMatch(
        network, weak, strong, momentum=MOMENTUM, seed=seed
    ),
    "SoftMatch": lambda network, weak, strong, steps, seed: consistency.SoftMatch(
        network, weak, strong, momentum=MOMENTUM, seed=seed
    ),
    "AdaMatch": lambda network, weak, strong, steps, seed: consistency.AdaMatch(
        network, weak, strong, total_steps=steps, seed=seed
    ),
}
"""The methods that label inside the step, with ramps and averages for trainings of a few thousand steps."""

ABOUT = {
    "PseudoLabel": "As self-training, but the network labels anew in every step.",
    "PiModel": "Two random views of an unlabeled image must get the same answer.",
    "MeanTeacher": "An unlabeled image must get the answer that the average of the network's past weights gives it.",
    "VAT": "An unlabeled image and the small change of it that alters the answer most must get the same answer.",
    "MixMatch": "Unlabeled images get the sharpened mean answer over views, and all images are mixed in pairs.",
    "UDA": "A strongly changed view of an unlabeled image must get the sharpened answer of a hardly changed one.",
    "FixMatch": "What the network is sure of on a hardly changed view of an unlabeled image, it learns on a strongly "
    "changed one, in the same step.",
    "FlexMatch": "FixMatch, with a lower bar for classes that are learned late.",
    "FreeMatch": "FixMatch, with a bar that rises with the network's own confidence, for each class.",
    "SoftMatch": "FixMatch with all images, those of little confidence with little weight.",
    "AdaMatch": "FixMatch, with guesses brought to the class mix of the labels.",
}

LABELS_ONLY = Method(
    "supervised", "labels only", "The network learns from the labeled images as they are.",
    recipe(augmented=False, self_trained=False, attacked=None),
)  # fmt: skip
AUGMENTATION = Method(
    "augmentation", "+ augmentation", "The labeled images are changed at random each time they are seen.",
    recipe(augmented=True, self_trained=False, attacked=None),
)  # fmt: skip
SELF_TRAINING = Method(
    "self_training", "+ self-training",
    "From 30 % of the training on, the network also learns from unlabeled images whose class it is 95 % sure of.",
    recipe(augmented=True, self_trained=True, attacked=None),
)  # fmt: skip
PGD_TRAINING = Method(
    "adversarial", "+ PGD training",
    "Self-training, and every image is attacked before the network learns from it.",
    recipe(augmented=True, self_trained=True, attacked="standard"),
)  # fmt: skip
TRADES = Method(
    "trades", "+ TRADES",
    "Self-training, and the answer to an attacked image must be that to the clean one.",
    recipe(augmented=True, self_trained=True, attacked="trades"),
)  # fmt: skip


def _consistent(name: str) -> Method:
    return Method(name.lower(), f"+ {name}", ABOUT[name], consistent(CONSISTENCY[name]))


class Budget(NamedTuple):
    """What a study does by default.

    Attributes:
        steps: gradient steps of every network.
        seeds: repetitions.
        methods: the rows, in order.
    """

    steps: int
    seeds: int
    methods: tuple[Method, ...]


BUDGETS = {
    "quick": Budget(600, 3, (LABELS_ONLY, AUGMENTATION, SELF_TRAINING, _consistent("FixMatch"), PGD_TRAINING)),
    "full": Budget(
        4000, 5,
        (LABELS_ONLY, AUGMENTATION, SELF_TRAINING, *map(_consistent, CONSISTENCY), PGD_TRAINING, TRADES),
    ),
}  # fmt: skip
