"""Whether a subclass of one of Keras's classes leaves Keras's own names what they are."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import keras


def hidden_names(thing: Any) -> list[str]:
    """What of a class, or of an instance, hides a method or an attribute of Keras's behind another meaning.

    A name means another thing when it is no longer a property, or no longer a method, or a method that can't be called
    as Keras's can: it lacks one of its arguments, or demands one more.

    Args:
        thing: a subclass of one of Keras's classes (a layer, a model, a callback, ...), or an instance of one.

    Returns:
        A sentence each; none is as it should be.

    Example:
        >>> class Mixer(keras.layers.Layer):
        ...     def weights(self, count):
        ...         return np.zeros(count)
        >>> kas.testing.hidden_names(Mixer)
        ['Mixer.weights(self, count) hides the property Layer.weights of Keras']
    """
    cls = thing if inspect.isclass(thing) else type(thing)
    theirs = [base for base in cls.__mro__ if base.__module__.split(".")[0] == "keras"]
    found = [sentence for name in _own_names(thing, cls) for sentence in _hides(cls, name, theirs)]
    return found + [sentence for name in _own_values(thing) for sentence in _shadows(cls, name, theirs)]


def _own_names(thing: Any, cls: type) -> list[str]:
    own = [base for base in cls.__mro__ if base.__module__.split(".")[0] not in ("keras", "tensorflow", "builtins")]
    return sorted({name for base in own for name in vars(base) if not name.startswith("__")})


def _own_values(thing: Any) -> list[str]:
    """Attributes of an instance that Keras itself doesn't set on one."""
    if inspect.isclass(thing):
        return []
    kinds = (keras.layers.Layer, keras.Model, keras.callbacks.Callback)
    by_keras = {name for kind in kinds if isinstance(thing, kind) for name in vars(kind())}
    return sorted(set(vars(thing)) - by_keras)


def _hides(cls: type, name: str, theirs: list[type]) -> Iterator[str]:
    for base in theirs:
        if name in vars(base):
            own, keras_own = inspect.getattr_static(cls, name), vars(base)[name]
            if _kind(own) != _kind(keras_own):
                yield f"{_called(cls, name)} hides the {_kind(keras_own)} {base.__name__}.{name} of Keras"
            elif _kind(own) == "method" and not _takes_all(getattr(cls, name), getattr(base, name)):
                yield f"{_called(cls, name)} can't be called as {_called(base, name)} of Keras"
            return


def _shadows(cls: type, name: str, theirs: list[type]) -> Iterator[str]:
    for base in theirs:
        if name in vars(base) and _kind(vars(base)[name]) == "method":
            yield f"the attribute {cls.__name__}.{name} hides the method {base.__name__}.{name} of Keras"
            return


def _kind(value: Any) -> str:
    if isinstance(value, property) or type(value).__name__ == "cached_property":
        return "property"
    return "method" if callable(value) or isinstance(value, (classmethod, staticmethod)) else "attribute"


def _called(cls: type, name: str) -> str:
    """The name, with the arguments of a method."""
    value = getattr(cls, name)
    arguments = f"({', '.join(inspect.signature(value).parameters)})" if _kind(value) == "method" else ""
    return f"{cls.__name__}.{name}{arguments}"


def _takes_all(own: Any, theirs: Any) -> bool:
    """Whether every call that `theirs` takes, `own` takes too."""
    mine, other = (inspect.signature(function).parameters for function in (own, theirs))
    kinds = {parameter.kind for parameter in mine.values()}
    anything = inspect.Parameter.VAR_KEYWORD in {parameter.kind for parameter in other.values()}
    for name, parameter in other.items():
        variable = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if not variable and name not in mine and inspect.Parameter.VAR_KEYWORD not in kinds:
            return False
    named = (p for p in mine.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
    demanded = {parameter.name for parameter in named if parameter.default is parameter.empty}
    return anything or demanded <= set(other)
