"""Numbers drawn by the pixel: as even, normal and independent as the tests of a random generator can tell."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from keras_aug_ssl import draws

SEEDS = draws.seeds(draws.as_key(3), 8).numpy()


def even(places, cells):
    """The chance that whole numbers below `cells` drawn evenly are spread as unevenly as `places`, or more so."""
    return stats.chisquare(np.bincount(places.ravel(), minlength=cells)).pvalue


def test_bytes_are_even_and_independent():
    words = draws.hashed(SEEDS, 224 * 168).numpy()
    levels = words.view(np.uint8).astype(int)
    for place in range(4):
        assert even(levels[:, place::4], 256) > 1e-4
    for step in (1, 2, 3, 4, 224 * 3):  # the neighbor's channel, pixel, and row
        assert even(levels[:, step:] // 16 * 16 + levels[:, :-step] // 16, 256) > 1e-4
    for one, other in [(0, 1), (0, 4), (1, 4), (2, 7)]:  # images
        assert even(levels[one] // 16 * 16 + levels[other] // 16, 256) > 1e-4
    bits = np.unpackbits(words.view(np.uint8), axis=1).mean(1)
    assert np.abs(bits - 0.5).max() < 4 * 0.5 / np.sqrt(words[0].nbytes * 8)


def test_no_image_shows_a_part_of_another_ones_words():
    words = draws.hashed(SEEDS, 4096).numpy()
    assert len(np.unique(words)) > words.size - 5  # by chance one in 2^32 / 32,768 meets another


def test_a_seed_is_of_the_place_in_the_data():
    assert np.array_equal(draws.seeds(draws.as_key(3), 3, 5).numpy(), SEEDS[5:])


def test_white_noise_is_normal_out_to_its_tails():
    noise = draws.white_noise(SEEDS, 120_000).numpy().ravel()
    assert stats.kstest(noise, "norm").pvalue > 1e-3
    assert np.isfinite(noise).all() and 4.0 < np.abs(noise).max() < 5.4
    beyond = np.mean(np.abs(noise) > 3.0)
    assert abs(beyond / (2 * stats.norm.sf(3.0)) - 1.0) < 0.1


@pytest.mark.parametrize(
    "a, b", [(1e-3, 1e-3), (0.2, 0.2), (0.4, 2.0), (1.0, 2.0), (1.5, 0.7), (8.0, 8.0), (200.0, 50.0)]
)
def test_beta_draws_have_the_quantiles_of_the_distribution(a, b):
    unit = np.linspace(0.0, 1.0, 4000, endpoint=False, dtype="float32")
    found = draws.beta(unit, a, b).numpy().astype(np.float64)
    assert np.all(np.diff(found) >= -2e-7) and found[0] >= 0.0 and found[-1] <= 1.0
    # In chance, or, where float32 can't hold how near the end it is, in place.
    exact = stats.beta.ppf(unit, a, b)
    apart = np.minimum(np.abs(stats.beta.cdf(found, a, b) - unit), np.abs(found - exact))
    assert apart.max() < 1e-4
