"""A model and images that it can tell apart."""

from __future__ import annotations

import pytest

from tests.helpers import half_bright_images, half_bright_model


@pytest.fixture
def model_file(tmp_path):
    return half_bright_model(tmp_path / "model.keras")


@pytest.fixture
def folder(tmp_path):
    return half_bright_images(tmp_path / "images")
