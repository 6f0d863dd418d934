"""Our attacks beside those of Foolbox, CleverHans, ART and torchattacks: same network, weights, digits and budget.

    python benchmarks/attacks.py [--tensorflow-peers PYTHON] [--torch-peers PYTHON] [--tables fgsm pgd ...]
                                 [--runs 3] [--digits N] [--folder DIRECTORY] [--markdown FILE]

The peers' requirements clash with each other's, so they live in environments of their own, whose Pythons are given:

    python -m venv A && A/bin/pip install tensorflow-cpu keras foolbox cleverhans adversarial-robustness-toolbox
    python -m venv B && B/bin/pip install torch torchattacks

A small convolutional network is trained on 4,000 of the 5,000 embedded digits and attacked on the others, also after
PGD training and with its logits times twenty. Every contender is a process of its own with one thread, fed the weights
and digits as arrays; the runs are interleaved (A B C, A B C, ...) and only one works at a time. Each contender's digits
are judged by one more forward pass of its own network, which our attacks but `fgsm` have done themselves besides; a
perturbation outside ball or bounds counts as none.
Seconds are CPU seconds, since other work on the machine lengthens the others. Every attack is called once before on
four digits, where TensorFlow traces its graph; the seconds of that call are reported by themselves.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from typing import NamedTuple

from _attack_peers import CONTENDERS

HERE = os.path.dirname(os.path.abspath(__file__))


class Case(NamedTuple):
    """Attacks of one kind on the first `digits` of the test digits; None for `epsilon` has no limit."""

    attacks: tuple[str, ...]
    network: str
    epsilon: float | None
    digits: int
    short: bool = True
    """Timed in several runs; else in one."""


LIBRARIES = [
    "keras", "tensorflow", "tensorflow-cpu", "foolbox", "cleverhans", "adversarial-robustness-toolbox", "torch",
    "torchattacks",
]  # fmt: skip
COLUMNS = [
    "attack", "network", "epsilon", "digits", "contender", "robust accuracy, %", "fooled of right",
    "L2, mean and median", "Linf, mean and median", "CPU s, median (range)", "times ours", "first call, s",
]  # fmt: skip
PGD = ("PGD", "PGD, leaving early")
PARTS = ("APGD-T", "FAB-T", "Square")
DIGITS = {"plain": 1000, "robust": 400}  # on the robust one nearly all stay in the loop to its end
BOTH = [(network, epsilon) for network in ("plain", "robust") for epsilon in (0.1, 0.2)]
TABLES = {
    "fgsm": [Case(("FGSM", "FGSM, judged"), "plain", 0.1, 1000)],
    "pgd": [Case((*PGD, "PGD, the peers' loss"), "plain", epsilon, 1000) for epsilon in (0.1, 0.2)],
    "minimal": [Case((attack,), "plain", None, 1000) for attack in ("DDN", "FMN L2", "FMN Linf")],
    "deepfool": [Case(("DeepFool",), "plain", None, 100)],
    "carlini": [Case(("Carlini-Wagner",), "plain", None, 20, False)],
    "sure": [Case(PGD, "sharp", 0.2, 200)],
    "apgd": [Case(("APGD-CE",), *where, 1000) for where in BOTH],
    "parts": [Case((part,), *where, DIGITS[where[0]], False) for where in BOTH for part in PARTS],
    "autoattack": [Case(("AutoAttack",), *where, 1000, False) for where in BOTH],
    "ten steps": [Case(("AutoAttack, two parts", "AutoAttack, 10 steps"), "plain", 0.1, 100, False)],
}


class Worker:
    """A contender's process."""

    def __init__(self, python, contender, network, folder):
        command = [python, os.path.join(HERE, "_attack_worker.py"), contender, network, folder]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.attacks = self._answer()

    def ask(self, attack, epsilon, digits):
        """What an attack did, and the seconds it took."""
        print(json.dumps([attack, epsilon, digits]), file=self.process.stdin, flush=True)
        return self._answer()

    def first(self, attack, epsilon):
        """The seconds of a first call, and no others yet."""
        return {"first": self.ask(attack, epsilon, 4)["cpu"], "seconds": []}

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended early; its own message is above.")
        return json.loads(line)


class Workers:
    """The contenders on one network at a time, started when they are asked for."""

    def __init__(self, pythons, folder):
        self.pythons, self.folder = pythons, folder
        self.network, self.running = None, {}

    def on(self, network):
        """Contenders by name, on this network."""
        if network != self.network:
            self.close()
            self.network = network
            self.running = {name: Worker(python, name, network, self.folder) for name, python in self.pythons.items()}
        return self.running

    def close(self):
        for worker in self.running.values():
            worker.close()
        self.running = {}


def compare(case, workers, runs):
    """Interleaved runs of a case: (contender, attack) to its last answer and the CPU seconds of all its calls."""
    tasks = [(name, attack) for name in workers for attack in case.attacks if attack in workers[name].attacks]
    found = {(name, attack): workers[name].first(attack, case.epsilon) for name, attack in tasks}
    for _ in range(runs if case.short else 1):
        for name, attack in tasks:
            answer = workers[name].ask(attack, case.epsilon, case.digits)
            found[name, attack].update(answer)
            found[name, attack]["seconds"].append(answer["cpu"])
    return found


def rows(case, found):
    """The lines of the table for one case."""
    own = statistics.median(next(iter(found.values()))["seconds"])
    for (name, attack), answer in found.items():
        seconds = answer["seconds"]
        middle = f"{statistics.median(seconds):.2f}"
        spread = f" ({min(seconds):.2f} to {max(seconds):.2f})" if len(seconds) > 1 else ""
        cells = [
            attack, case.network, case.epsilon or "", case.digits, name,
            f"{100.0 * (answer['right'] - answer['fooled']) / case.digits:.1f}",
            f"{answer['fooled']} of {answer['right']}",
            f"{answer['l2 mean']:.3f}, {answer['l2 median']:.3f}",
            f"{answer['linf mean']:.4f}, {answer['linf median']:.4f}",
            middle + spread,
            f"{statistics.median(seconds) / own:.1f}",
            f"{answer['first']:.1f}",
        ]  # fmt: skip
        yield "| " + " | ".join(map(str, cells)) + " |"


def versions(python):
    """Name and version of every library under comparison that an environment holds."""
    code = (
        "import importlib.metadata as m\n"
        "found = {d.name.lower().replace('_', '-'): d.version for d in m.distributions()}\n"
        f"print(', '.join(f'{{name}} {{found[name]}}' for name in {LIBRARIES} if name in found))"
    )
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def header(pythons):
    from _attack_networks import NETWORKS

    yield f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}; one thread a contender."
    yield ""
    yield from (f"- {name}: {versions(python)}" for name, python in pythons.items())
    yield from (f'- network "{name}": {meaning}' for name, meaning in NETWORKS.items())
    yield ""
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "|" + "---|" * len(COLUMNS)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tensorflow-peers", help="Python of an environment with foolbox, cleverhans and ART")
    parser.add_argument("--torch-peers", help="Python of an environment with torch and torchattacks")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--runs", type=int, default=3, help="runs of those attacks that are timed several times")
    parser.add_argument("--digits", type=int, help="another number of digits than each table's own")
    parser.add_argument("--folder", help="where networks and digits are kept, to use them again")
    parser.add_argument("--markdown", help="also write the table to this file")
    options = parser.parse_args()

    homes = {"keras_aug_ssl": sys.executable, "torchattacks": options.torch_peers}
    pythons = {name: homes.get(name, options.tensorflow_peers) for name in options.contenders}
    pythons = {name: python for name, python in pythons.items() if python}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or temporary
        os.makedirs(folder, exist_ok=True)
        from _attack_networks import prepare

        prepare(folder)
        report(options, pythons, folder)


def report(options, pythons, folder):
    """Runs the tables, printing lines as they come."""
    lines = list(header(pythons))
    print("\n".join(lines), flush=True)
    workers = Workers(pythons, folder)
    for table in options.tables:
        for case in TABLES[table]:
            case = case._replace(digits=options.digits or case.digits)
            for row in rows(case, compare(case, workers.on(case.network), options.runs)):
                lines.append(row)
                print(row, flush=True)
    workers.close()
    if options.markdown:
        with open(options.markdown, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
