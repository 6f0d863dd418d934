"""Who does the work on shards, rows of a study or runs of attacks: this process, or the workers of Ray."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import tensorflow as tf

from keras_aug_ssl import checks

OWNER = "kas.scale.Ray"

OBJECT_STORE = 2**28
"""Bytes of shared memory for Ray where it is started here: nothing but counts goes through it."""


TRIES = 8
"""How often work whose worker is killed is tried again: what kills each would be tried without end."""


class Engine(Protocol):
    """Applies functions to items of work, such as shards, in any order, each at least once."""

    def running(self) -> contextlib.AbstractContextManager[Any]:
        """Holds what it needs for several maps."""

    def map(self, make: Callable[[], Callable[[Any], Any]], items: Sequence[Any]) -> Iterator[Any]:
        """Yields the results, in any order. `make` is called once by each of few workers, as a model is loaded."""

    def light_map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        """Yields the results, in any order, of a function that needs nothing made beforehand."""


def checked(owner: str, engine: Any) -> Any:
    """Returns an engine or None; raises for anything else, such as the class or its name."""
    works = all(hasattr(engine, name) for name in ("running", "map", "light_map"))
    if engine is not None and (isinstance(engine, type) or not works):
        checks.fail(owner, "engine", "None or an engine, such as kas.scale.Ray(2)", engine, error=TypeError)
    return engine


class InProcess:
    """This process, one item after the other."""

    def running(self) -> contextlib.AbstractContextManager[Any]:
        """Holds nothing."""
        return contextlib.nullcontext()

    def map(self, make: Callable[[], Callable[[Any], Any]], items: Sequence[Any]) -> Iterator[Any]:
        """Yields the results in order."""
        if items:
            yield from map(make(), items)

    def light_map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        """Yields the results in order."""
        yield from map(function, items)


class Ray:
    """The workers of Ray Data: on this machine, or on the cluster that `ray.init` or `RAY_ADDRESS` has joined.

    Work goes to whoever is free. What was in the hands of a worker that is killed is done again by another.

    Args:
        workers: processes that work at the same time, each with a model of its own; >= 1.
        cpus: cores, and threads of TensorFlow, of each; >= 1.
        gpus: GPUs of each, or a share of one.

    Raises:
        ImportError: without Ray.
    """

    def __init__(self, workers: int = 2, cpus: int = 1, gpus: float = 0.0) -> None:
        self._workers = checks.integer(OWNER, "workers", workers, 1)
        self._cpus = checks.integer(OWNER, "cpus", cpus, 1)
        self._gpus = checks.number(OWNER, "gpus", gpus, 0.0)
        self._ray = checks.optional_package(OWNER, "ray", "ray")
        self._data = checks.optional_package(OWNER, "ray.data", "ray")

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Starts Ray on this machine where none runs, and ends it afterwards."""
        own = not self._ray.is_initialized()
        if own and os.environ.get("RAY_ADDRESS"):
            self._ray.init(logging_level=logging.ERROR, log_to_driver=False)
        elif own:
            cpus = max(os.cpu_count() or 1, self._workers * self._cpus)
            self._ray.init(
                "local", num_cpus=cpus, object_store_memory=OBJECT_STORE, include_dashboard=False,
                logging_level=logging.ERROR, log_to_driver=False,
            )  # fmt: skip
        try:
            with self._quiet():
                yield
        finally:
            if own:
                self._ray.shutdown()

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        """Keeps Ray Data from drawing and telling of each of many short executions."""
        context, logger = self._data.DataContext.get_current(), logging.getLogger("ray.data")
        before = context.enable_progress_bars, logger.level
        context.enable_progress_bars = False
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            context.enable_progress_bars = before[0]
            logger.setLevel(before[1])

    def map(self, make: Callable[[], Callable[[Any], Any]], items: Sequence[Any]) -> Iterator[Any]:
        """Yields the results of actors, as they come."""
        compute = self._data.ActorPoolStrategy(size=min(self._workers, max(1, len(items))))
        yield from self._results(
            items, _Worker, fn_constructor_args=(make, self._cpus), compute=compute,
            num_cpus=self._cpus, num_gpus=self._gpus or None, max_task_retries=TRIES,
        )  # fmt: skip

    def light_map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        """Yields the results of tasks, as they come."""
        yield from self._results(items, _each(function), num_cpus=1)

    def _results(self, items: Sequence[Any], function: Any, **how: Any) -> Iterator[Any]:
        if not items:
            return
        cells = self._data.from_items([_Whole(item) for item in items], override_num_blocks=len(items))
        try:
            for row in cells.map_batches(function, batch_size=1, **how).iter_rows():
                result = row["result"].content
                if isinstance(result, Exception):
                    raise result
                yield result
        except self._ray.exceptions.RayError as error:
            raise RuntimeError(
                f"{OWNER}: Ray could not finish, however often it tried; a worker may run out of memory. What is done "
                f"is kept for the next run. Ray says: {str(error).strip().splitlines()[-1]}"
            ) from error


class _Worker:
    """What an actor holds: whatever `make` makes, made with as many threads as it has cores."""

    def __init__(self, make: Callable[[], Callable[[Any], Any]], threads: int) -> None:
        with contextlib.suppress(RuntimeError):  # TensorFlow runs in this process already, with the threads it has
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        self._call = _each(make())

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return self._call(batch)


@dataclasses.dataclass(frozen=True)
class _Whole:
    """An item or a result in a column of Ray Data, which would make an array of a tuple and a table of a dict."""

    content: Any


def _each(function: Callable[[Any], Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A function of an item as one of a batch of them, as Ray Data passes it; what it raises becomes its result.

    Raised in a worker, an error would come here as one of Ray's, with the user's as a text among its own.
    """

    def result(item: Any) -> Any:
        try:
            return function(item)
        except Exception as error:
            return error

    return lambda batch: {"result": [_Whole(result(item.content)) for item in batch["item"]]}
