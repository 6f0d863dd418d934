"""Every recipe keeps every law."""

from __future__ import annotations

import pytest

import keras_aug_ssl as kas
from keras_aug_ssl.consistency import methods
from keras_aug_ssl.testing.consistency import CONSISTENCY_LAWS
from tests.consistency.cases import RECIPES

# Keras 3.15 on NumPy 2 saves so.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.mark.parametrize("law", CONSISTENCY_LAWS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_law(recipe, law):
    assert kas.testing.check_consistency(RECIPES[recipe], only=[law]) == [law]


def test_every_recipe_is_listed():
    named = {name for name, value in vars(methods).items() if getattr(value, "__module__", "") == methods.__name__}
    assert {name for name in named if not name.startswith("_")} == set(RECIPES)
