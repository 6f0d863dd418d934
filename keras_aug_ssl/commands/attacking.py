"""The work of `attack`: accuracy at every radius."""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_aug_ssl.adversarial import PGD
from keras_aug_ssl.commands import looking, options
from keras_aug_ssl.commands.inputs import Reader, check_fits, image_shape, labeled_files, read_labeled, read_model
from keras_aug_ssl.commands.messages import bad_input, note, shown
from keras_aug_ssl.commands.progress import Advance, progress
from keras_aug_ssl.tables import as_text
from keras_aug_ssl.workers import InProcess
from keras_aug_ssl.writing import replacing

SHARES = (0.05, 0.1, 0.2)
"""Radii by default, of the width of the bounds."""
BETTER = 0.2
"""By how much accuracy must rise in another scale of values before the model was trained on that one."""
NEAR_CHANCE = 0.1
"""How far accuracy may lie above that of the commonest class and still be no better than chance."""


def attack(arguments: argparse.Namespace) -> int:
    """Attacks as the arguments of the command say; returns the exit code."""
    rows: list[dict[str, Any]] = []
    with bad_input():
        engine = options.engine(arguments) or InProcess()
        low, high = arguments.bounds
        epsilons = [0.0, *(arguments.epsilon or (share * (high - low) for share in SHARES))]
        attacks = [PGD(e, arguments.norm, steps=arguments.steps, bounds=(low, high)) for e in epsilons]
        model = read_model(arguments.model)
        x, y, finish = _examples(model, arguments)
        check_fits(model, x.shape[1:])
        if arguments.out:
            options.make_folder(arguments.out)
        try:
            with progress("attacked examples", len(x) * len(attacks)) as advance:
                rows.append(_row(attacks[0], model, x, y, advance))
                _check_scale(model, x, y, rows[0]["accuracy"], arguments)
                here = isinstance(engine, InProcess)
                make = functools.partial(_attacker, model, x, y, advance if here else None)
                with engine.running():
                    for row in engine.map(make, attacks[1:]):
                        rows.append(row)
                        if not here:
                            advance(len(x))
        except KeyboardInterrupt:
            if rows:
                _print(_summary(arguments, len(x), rows), as_json=arguments.json)
            kept = f"{len(rows)} of {len(attacks)} radii are done and printed; no file was written"
            raise KeyboardInterrupt(kept) from None
    rows.sort(key=lambda row: epsilons.index(row["epsilon"]))  # Ray hands them over as they come
    summary = _summary(arguments, len(x), rows)
    if arguments.out:
        with replacing(arguments.out) as draft:
            draft.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    _print(summary, as_json=arguments.json)
    return finish()


def _examples(model: keras.Model, arguments: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, Callable[[], int]]:
    """Some labeled examples at random, and what says how many could not be read."""
    folder = Path(arguments.data)
    low, high = arguments.bounds
    if not folder.is_dir():
        x, y = read_labeled(arguments.data, arguments.data_dir, (low, high))
        chosen = _chosen(len(x), arguments.examples)
        return x[chosen], y[chosen], lambda: 0
    files, y, names = labeled_files(folder)
    height, width, channels = image_shape(model, "a .npz file with x and y")
    _compare_classes(model, names)
    chosen = _chosen(len(files), arguments.examples)
    looking.at_images([files[row] for row in chosen[: looking.LOOKED_AT]], (height, width), channels)
    reader, classes = Reader((height, width), channels), {files[row]: y[row] for row in chosen}
    found = dict(reader(list(classes)))
    reader.check_any()
    x = low + (high - low) / 255.0 * np.stack(list(found.values()))
    return np.clip(x, low, high), np.asarray([classes[file] for file in found]), reader.exit_code


def _compare_classes(model: keras.Model, names: Sequence[str]) -> None:
    """Says it when there are other numbers of class folders than of outputs; one output says yes or no."""
    outputs = getattr(model, "output_shape", None)
    if isinstance(outputs, tuple) and outputs[-1] not in (None, 1, len(names)):
        note(
            f"the model has {outputs[-1]} outputs and the folder {len(names)} classes, numbered from 0, {names[0]}, to "
            f"{len(names) - 1}, {names[-1]}: are these the model's numbers?"
        )


def _chosen(total: int, most: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(total)[:most]


def _attacker(
    model: keras.Model, x: np.ndarray, y: np.ndarray, advance: Advance | None
) -> Callable[[PGD], dict[str, Any]]:
    """What makes the rows of the table; a worker elsewhere shows nothing."""
    return lambda attack: _row(attack, model, x, y, advance or (lambda count: None))


def _row(attack: PGD, model: keras.Model, x: np.ndarray, y: np.ndarray, advance: Advance) -> dict[str, Any]:
    right = dead = 0
    for result in attack.stream(model, x, y):
        right += int(np.sum(result.withstood))
        dead += int(np.sum(result.zero_gradient))
        advance(len(result.success))
    return {"epsilon": attack.epsilon, "accuracy": round(right / len(x), 4), "zero_gradient": dead}


def _check_scale(model: keras.Model, x: np.ndarray, y: np.ndarray, accuracy: float, arguments: Any) -> None:
    """Raises where the model guesses on these values and was trained, by all signs, on others."""
    given, by_chance = looking.scale_of(x), _share_of_the_commonest(y)
    if given is None or by_chance is None or accuracy > by_chance + NEAR_CHANCE:
        return
    wanted, factor, high = ("0..255", 255.0, 255.0) if given == "0..1" else ("0..1", 1 / 255.0, 1.0)
    some = looking.some(len(x))
    other = PGD(0.0, steps=1, bounds=(0, high))(model, x[some] * factor, y[some]).robust_accuracy
    if other > accuracy + BETTER:
        sign = f"its accuracy is {accuracy:.0%} on these values in {given} and {other:.0%} in {wanted}"
    elif wanted == "0..255" and looking.rescales(model):
        sign = f"it has a Rescaling layer, and its accuracy on these values in {given} is {accuracy:.0%}"
    else:
        return
    change = f"change x in {shown(arguments.data)} and " if arguments.data.endswith(".npz") else ""
    raise ValueError(f"the model seems to want values in {wanted}: {sign}; {change}pass --bounds 0 {high:g}")


def _share_of_the_commonest(y: np.ndarray) -> float | None:
    """Accuracy of always naming the commonest class; None for labels that aren't one class each."""
    classes = y.argmax(axis=-1) if y.ndim == 2 and y.shape[-1] > 1 else y.reshape(-1)
    if len(classes) != len(y) or y.ndim == 2 and y.shape[-1] > 1 and not np.all(np.count_nonzero(y, axis=-1) == 1):
        return None
    return float(np.max(np.unique(classes, return_counts=True)[1]) / len(y))


def _summary(arguments: argparse.Namespace, examples: int, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"examples": examples, "attack": "PGD", "norm": arguments.norm, "steps": arguments.steps, "rows": rows}


def _print(summary: dict[str, Any], *, as_json: bool) -> None:
    cells = [
        [f"{row['epsilon']:g}", f"{100 * row['accuracy']:.1f}", f"{row['zero_gradient']}"] for row in summary["rows"]
    ]
    title = f"{summary['examples']} examples, PGD with {summary['steps']} steps, {summary['norm']}"
    text = f"{title}\n\n{as_text([['epsilon', 'accuracy (%)', 'met a zero gradient'], *cells])}"
    options.print_result(summary, text, as_json=as_json)
