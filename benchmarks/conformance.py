"""Who keeps which law: our layers and the stock Keras layers of the same name, asked the same questions.

    python benchmarks/conformance.py [--layers RandomFlip ...] [--markdown FILE]

The laws are those of `keras_aug_ssl.testing.LAYER_LAWS`, each asked of the layers it is about, and special laws about
single layers. A stock layer has no key, `sample` or `apply`, and takes neither tuples nor keypoints: laws about these,
and about a setting it doesn't have, aren't asked of it. A key becomes the seeds of its generators; under XLA TensorFlow
draws other numbers from a seed than without. The parallel map holds up every second batch of a stock layer for 20 ms.

Fails when one of our layers breaks a law.
"""

from __future__ import annotations

import argparse
import collections
import os
import re
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import _special_parts
import _special_pixels
import keras
from _stock import LAYERS, StockSubject, subjects
from _training import Table

import keras_aug_ssl as kas
from keras_aug_ssl.testing import LAYER_LAWS

NOT_OFFERED = {"structures are kept", "keypoints follow the pixels"}  # of tuples, and of what Keras has no name for
SPECIAL_LAWS = (*_special_parts.LAWS, *_special_pixels.LAWS)


def verdicts(subject):
    """{law: None if it is kept, else how it is broken} for the laws that `subject` can be asked."""
    stock, found = isinstance(subject, StockSubject), {}
    for name, law in LAYER_LAWS.items():
        if not law.concerns(subject) or (stock and name in NOT_OFFERED):
            continue
        try:
            law(subject)
            found[name] = None
        except AssertionError as broken:
            found[name] = str(broken).partition(" Here, ")[2].rstrip(".")
        except Exception as error:
            if stock and isinstance(error, NotImplementedError):
                continue
            found[name] = f"raises {type(error).__name__}"
    return found


def special_verdict(law, make):
    """(kept, figure) of a special law; a layer that raises breaks it."""
    try:
        return law(make)
    except Exception as error:
        return False, f"raises {type(error).__name__}"


def score(found):
    """ "kept of asked"."""
    return f"{sum(how is None for how in found)} of {len(found)}" if found else "–"


def by_layer(results):
    """One line a layer, with the laws that it breaks."""
    table = Table(
        "General laws kept, of those that can be asked of a layer.",
        ["layer", "keras_aug_ssl", "stock Keras", "broken by ours", "broken by the stock layer"],
    )
    for layer, (ours, stock) in results.items():
        broken = ["; ".join(name for name, how in found.items() if how) for found in (ours, stock)]
        table.add(layer, score(ours.values()), score(stock.values()), *broken)
    everyone = [[how for pair in results.values() for how in pair[side].values()] for side in (0, 1)]
    table.add("all", *map(score, everyone), "", "")
    return table


def by_law(results):
    """One line a law, with one stock layer that breaks it and how."""
    table = Table(
        "The same by law, with a stock layer that breaks it and how.",
        ["law", "keras_aug_ssl", "stock Keras", "for example"],
    )
    scores = collections.defaultdict(lambda: ({}, {}))
    for layer, pair in results.items():
        for side, found in enumerate(pair):
            for law, how in found.items():
                scores[law][side][layer] = how
    for law in LAYER_LAWS:
        ours, stock = scores[law]
        example = next((f"{layer}: {how}" for layer, how in stock.items() if how), "")
        table.add(law, score(ours.values()), score(stock.values()), example)
    return table


def by_special_law(laws):
    """One line a special law, with the figures of both; and how many of them ours keep."""
    table = Table(
        "Special laws, with what was measured.", ["law", "keras_aug_ssl", "stock Keras", "ours", "the stock layer"]
    )
    kept = 0
    for law in laws:
        (ours, our_figure), (stock, stock_figure) = (special_verdict(law, make) for make in (kas.layers, keras.layers))
        words = ["kept" if verdict else "broken" for verdict in (ours, stock)]
        table.add(re.sub(r"\s+", " ", law.__doc__).strip(), *words, our_figure, stock_figure)
        kept += ours
    return table, kept


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", nargs="+", default=list(LAYERS), choices=list(LAYERS))
    parser.add_argument("--markdown", help="also write the tables to this file")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # stock layers warn of casts
    results = {}
    for layer in options.layers:
        ours, stock = subjects(layer)
        results[layer] = verdicts(ours), verdicts(stock) if stock else {}
        print(layer, *(score(found.values()) for found in results[layer]), flush=True)
    special, kept = by_special_law(SPECIAL_LAWS)
    tables = [by_layer(results), by_law(results), special]
    if options.markdown:
        with open(options.markdown, "w", encoding="utf-8") as file:
            parts = [__doc__.split("\n\n")[2], *("\n".join(table.lines) for table in tables)]
            file.write("\n\n".join(parts) + "\n")
    broken = sum(how is not None for ours, _ in results.values() for how in ours.values())
    if broken or kept < len(SPECIAL_LAWS):
        raise SystemExit(f"our layers break {broken} general and {len(SPECIAL_LAWS) - kept} special laws")


if __name__ == "__main__":
    main()
