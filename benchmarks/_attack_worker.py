"""One contender of `attacks.py` in a process of its own: `python _attack_worker.py CONTENDER NETWORK FOLDER`.

It reads a job a line and answers each with a line, both JSON. Times are those of this process on one thread.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", OMP_NUM_THREADS="1", TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1")

import numpy as np
from _attack_peers import BATCH, CONTENDERS


def run(attack, x, y, epsilon):
    """Attacks in batches; returns the attacked digits, CPU seconds and seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    batches = [attack(x[i : i + BATCH], y[i : i + BATCH], epsilon) for i in range(0, len(x), BATCH)]
    return np.concatenate(batches), time.process_time() - cpu, time.perf_counter() - wall


def measure(predict, x, y, x_adv, epsilon):
    """What an attack did, by a forward pass of its own, whatever it reports.

    A perturbation beyond epsilon, outside 0 to 1 or not finite counts as none. Distances are those of the digits that
    were right and are fooled.
    """
    x_adv = x_adv.astype("float64").reshape(len(x), -1)
    delta = x_adv - x.reshape(len(x), -1)
    valid = (np.isfinite(x_adv) & (x_adv >= 0) & (x_adv <= 1)).all(1)
    if epsilon is not None:
        valid &= np.abs(delta).max(1) <= epsilon + 1e-6
    right = predict(x) == y
    fooled = right & valid & (predict(x_adv.astype("float32").reshape(x.shape)) != y)
    sizes = {"l2": np.linalg.norm(delta[fooled], axis=1), "linf": np.abs(delta[fooled]).max(1, initial=0)}
    return {
        "right": int(right.sum()),
        "fooled": int(fooled.sum()),
        **{f"{name} mean": float(np.mean(size)) for name, size in sizes.items()},
        **{f"{name} median": float(np.median(size)) for name, size in sizes.items()},
    }


def main():
    warnings.simplefilter("ignore")  # a peer's warnings are not ours to mend
    contender, network, folder = sys.argv[1:]
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    with np.load(os.path.join(folder, f"{network}.npz")) as arrays:
        predict, attacks = CONTENDERS[contender]([arrays[key] for key in arrays.files])
    with np.load(os.path.join(folder, "digits.npz")) as digits:
        x, y = digits["x"], digits["y"]
    print(json.dumps(sorted(attacks)), file=answers, flush=True)
    for line in sys.stdin:
        name, epsilon, first = json.loads(line)
        x_adv, cpu, wall = run(attacks[name], x[:first], y[:first], epsilon)
        answer = {"cpu": cpu, "wall": wall, **measure(predict, x[:first], y[:first], x_adv, epsilon)}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
