"""Figures: what is in them is what was given."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread

from keras_aug_ssl import plots


def pixels(figure, dots_per_inch=60):
    return imread(io.BytesIO(plots.to_png(figure, dots_per_inch)))


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (200, 100, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_grid_takes_every_kind_of_image(shape, dtype):
    image = np.ones(shape, dtype) * (1 if dtype == "float32" else 255)
    figure = plots.image_grid([[image, image], [image]])
    assert len(figure.axes) == 3
    assert pixels(figure).min() == 1.0, "white images on white"


def test_floats_beyond_one_are_cut_off():
    pixels(plots.image_grid([[np.full((4, 4, 3), 1.5, np.float32)]]))


def test_texts_do_not_overlap_images_or_each_other():
    rows = [[np.zeros((8, 8))] * 3] * 2
    captions = [[("reads 3", True)] * 3] * 2
    figure = plots.image_grid(
        rows, title="title", row_titles=["first row", "second row"], column_titles=["a", "b", "c"], captions=captions
    )
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.texts] + [a.get_window_extent() for a in figure.axes]
    assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
    assert all(figure.bbox.containsx(x) and figure.bbox.containsy(y) for box in boxes for x, y in box.corners())


def test_bars_have_the_given_lengths():
    figure = plots.accuracy_bars(["a", "b"], {"clean": [(0.9, 0.01), (0.8, 0.0)], "attacked": [(0.1, 0.0), (0.7, 0.0)]})
    lengths = [patch.get_width() for patch in figure.axes[0].patches]
    assert lengths == pytest.approx([90, 80, 10, 70])
    pixels(figure)


def test_curves_start_where_there_are_pseudo_labels():
    curve = {"step": [0, 10, 20], "count": [0, 4, 8], "accuracy": [None, 1.0, 0.75]}
    counts, truth = plots.pseudo_label_curves({"seed 0": curve}).axes
    assert counts.lines[0].get_ydata().tolist() == [0, 4, 8]
    assert np.nan_to_num(truth.lines[0].get_ydata(), nan=-1).tolist() == [-1, 100, 75]


def test_curves_without_any_pseudo_label():
    empty = {"step": [0, 10], "count": [0, 0], "accuracy": [None, None]}
    counts, truth = plots.pseudo_label_curves({"seed 0": empty}).axes
    assert truth.get_ylim() == (0, 100.5)
    assert counts.get_ylim() == (0, 1)


def test_texts_with_dollars_are_no_formulas():
    name = "$x^{$"
    figures = [
        plots.image_grid(
            [[np.zeros((4, 4))]], title=name, row_titles=[name], column_titles=[name], captions=[[(name, True)]]
        ),
        plots.accuracy_bars([name], {name: [(0.5, 0.0)]}, title=name),
        plots.pseudo_label_curves({name: {"step": [1], "count": [1], "accuracy": [0.5]}}, title=name),
        plots.accuracy_curves({name: {0.0: 0.5}}, xlabel=name, title=name),
    ]
    for figure in figures:
        pixels(figure)
