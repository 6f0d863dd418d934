"""What the report says in words: what was found, what each picture shows, and what the terms mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_aug_ssl.study.methods import Method
from keras_aug_ssl.study.results import Results, Row
from keras_aug_ssl.study.tasks import Images

WORDS = {
    "labeled image": "An image of which the training is told the class; it is not told that of the others.",
    "augmentation": "Random changes of an image that leave its class as it is, others each time it is shown.",
    "pseudo-label": "The class that a network itself gives to an unlabeled image, learned from as if it were true.",
    "self-training": "Training in turns: the network labels what it is sure of, learns from it, and labels again.",
    "FixMatch": "Self-training inside each step: a label guessed on a hardly changed view of an image is learned on a "
    "strongly changed one. FlexMatch, FreeMatch, SoftMatch and AdaMatch choose the guesses otherwise.",
    "attack": "A search for the small change of an image that makes a network read it wrongly.",
    "epsilon": "The most that an attack may change a pixel, where black is 0 and white is 1.",
    "PGD": "Projected gradient descent, the attack used here: many small steps, each into the direction in which the "
    "network's error grows, and back inside epsilon after each (Madry et al. 2018).",
    "clean accuracy": "The share of test images, as they are, that a network reads rightly.",
    "seed": "One repetition, with other labeled images and other initial weights. Where results of two rows are closer "
    "than their spread over seeds, other seeds may turn them around.",
}


def in_short(results: Results, titles: dict[str, str]) -> list[str]:
    """What the table says, in sentences for who doesn't read tables."""
    summaries, settings = results.summaries(), results.settings
    best = max(summaries, key=lambda summary: summary.clean_accuracy[0])
    toughest = max(summaries, key=lambda summary: summary.robust_accuracy[0])
    first = summaries[0]
    return [
        f"With {settings.labels} labeled images, \u201c{titles[first.method]}\u201d reads "
        f"{_percent(first.clean_accuracy)} of the test images rightly, and {_percent(first.robust_accuracy)} when each "
        f"pixel may be changed by {settings.epsilon:g} against it.",
        f"Most are read by \u201c{titles[best.method]}\u201d, {_percent(best.clean_accuracy)}; most under attack by "
        f"\u201c{titles[toughest.method]}\u201d, {_percent(toughest.robust_accuracy)}.",
        f"Every network has the same size, starts from the same weights and is trained for {settings.steps} steps, so "
        "what differs is the method alone.",
    ]


def methods(shown: Sequence[Method]) -> dict[str, str]:
    """Each row of the table in a sentence."""
    return {method.title: method.about for method in shown}


def of_bars(results: Results, titles: dict[str, str]) -> str:
    """What the bars show."""
    rows = (
        f"{titles[one.method]} {_percent(one.clean_accuracy)} clean, {_percent(one.robust_accuracy)} attacked"
        for one in results.summaries()
    )
    return "Bars: " + "; ".join(rows) + "."


def of_gallery(images: Images, chosen: np.ndarray, copies: int) -> str:
    """What the grid of augmented images shows."""
    classes = ", ".join(images.name(label) for label in images.y_train[chosen])
    return f"{len(chosen)} rows, of the classes {classes}: a training image, then {copies} random changes of it."


def of_curves(title: str, rows: Sequence[Row]) -> str:
    """How the pseudo-labels of a method went, seed by seed."""
    return f"{title}. " + " ".join(f"Seed {row.seed}: {_course(row)}." for row in rows)


def of_attacked(captions: Sequence[Sequence[tuple[str, bool]]], names: Sequence[str]) -> str:
    """Who is fooled by how many of the attacked images shown."""
    rows = (
        f"{name.replace(chr(10), ' ')}: {sum(fooled for _, fooled in row)} of {len(row)} read wrongly"
        for name, row in zip(names[1:], captions[1:], strict=True)
    )
    return "The clean images in the first row, below them as attacked. " + "; ".join(rows) + "."


def _course(row: Row) -> str:
    used = [entry for entry in row.pseudo_labels if entry.accuracy is not None]
    if not used:
        return "no pseudo-labels"
    first, last = used[0], used[-1]
    return (
        f"{first.count} pseudo-labels at step {first.step}, {first.accuracy:.1%} of them true, and {last.count} at "
        f"step {last.step}, {last.accuracy:.1%} true"
    )


def _percent(mean_and_spread: tuple[float, float]) -> str:
    return f"{100 * mean_and_spread[0]:.1f} %"
