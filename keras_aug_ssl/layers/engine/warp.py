"""The geometric family: any run of its layers reads the image once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.kernels import boxes as box_kernels
from keras_aug_ssl.kernels import geometry, matrices, resample
from keras_aug_ssl.kernels.geometry import Size
from keras_aug_ssl.layers.engine.base import AugmentationLayer, Finish, Parameters
from keras_aug_ssl.layers.engine.batch import Batch, Boxes, to_dtype
from keras_aug_ssl.layers.engine.compiling import compiled

Factor = float | tuple[float, float]  # one number, or the range it is drawn from

_FIELD_POINTS_PER_SIDE = 8  # a field bends a box's sides: follow them, not the corners only


class Copying(NamedTuple):
    """How a layer copies whole pixels where it does nothing else: `kernel(images, *tensors, **settings)`.

    Where only running tells whether it does nothing else, `when` is a scalar boolean, else None.
    """

    kernel: Callable[..., tf.Tensor]
    tensors: tuple[tf.Tensor, ...]
    settings: dict[str, Any]
    when: tf.Tensor | None = None


class GeometricLayer(AugmentationLayer):
    """Base of the layers that move pixels.

    Parameters drawn: `out_to_in` (B, 3, 3), from an output pixel (x, y, 1) to the input pixel it is read from, or
    `field` (B, H, W, 2), the displacement (dx, dy) in pixels of each output pixel to where it is read.

    Neighbours fuse into one resampling when they fill and interpolate alike: what one of them pushes over the edge and
    the next brings back is then still there, and nothing is blurred twice. The fill applies where the *whole* run reads
    outside the image.

    Args:
        fill_mode: what lies outside: `"reflect"` (d c b a | a b c d), `"wrap"`, `"constant"`, `"nearest"`.
        interpolation: `"bilinear"` or `"nearest"`; masks are always read nearest, and filled with 0 by `"constant"`.
        fill_value: the constant, in the images' own unit.
        **kwargs: as for `AugmentationLayer`.
    """

    what = "resample"
    slices = "channels"
    moves = True
    projective = False  # True: the last row of `out_to_in` may differ from (0, 0, 1)

    def __init__(
        self, fill_mode: str = "reflect", interpolation: str = "bilinear", fill_value: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.fill_mode = checks.one_of(owner, "fill_mode", fill_mode, resample.FILL_MODES)
        self.interpolation = checks.one_of(owner, "interpolation", interpolation, resample.INTERPOLATIONS)
        self.fill_value = checks.number(owner, "fill_value", fill_value)

    @property
    def fill(self) -> tuple[str, float] | None:
        """(mode, value) for what lies outside; None for a layer that never reads there, and so fuses with any fill."""
        return self.fill_mode, self.fill_value

    @property
    def reading(self) -> str | None:
        """How the layer interpolates; None for one that reads whole pixels only."""
        return self.interpolation

    def keep(self, mask: tf.Tensor, parameters: Parameters) -> Parameters:
        if "field" in parameters:
            return {"field": tf.where(mask[:, None, None, None], parameters["field"], 0.0)}
        return {"out_to_in": tf.where(mask[:, None, None], parameters["out_to_in"], tf.eye(3))}

    def fuses_with(self, other: AugmentationLayer) -> bool:
        if not isinstance(other, GeometricLayer):
            return False
        pairs = ((self.fill, other.fill), (self.reading, other.reading))
        return all(mine is None or theirs is None or mine == theirs for mine, theirs in pairs)

    def copying(self, parameters: Parameters, size: Size, jit: bool) -> Copying | None:
        """How whole pixels of images of `size` are copied; None where each is looked up, at ten times the price."""
        return None

    @classmethod
    def run(cls, steps: Sequence[tuple[Any, Parameters]], batch: Batch, finish: Finish, jit: bool) -> Batch:
        sizes = [batch.size]
        for layer, _ in steps:
            sizes.append(layer.output_size(sizes[-1]))
        before = zip(steps, sizes, strict=False)
        found = [layer.copying(parameters, size, jit) for (layer, parameters), size in before]
        copying = [each for each in found if each is not None]
        only = len(copying) == len(steps)  # copying will do, at least at certain sizes
        when = [each.when for each in copying if each.when is not None]
        static = [n if isinstance(n, int) else None for n in sizes[-1]]
        fill_mode, fill_value = next((layer.fill for layer, _ in steps if layer.fill), ("nearest", 0.0))
        interpolation = next((layer.reading for layer, _ in steps if layer.reading), "nearest")
        # Where copying may do, each reading finds its cells by itself, so that none are found in vain.
        cells = None if only else _locate(steps, sizes, fill_mode, jit)

        def read(images: tf.Tensor, smooth: bool, fill: float, finish: Finish) -> tf.Tensor:
            reader = resample.bilinear if smooth else resample.nearest
            unit = compiled(_read, jit, reader=reader, fill_mode=fill_mode, fill_value=fill, finish=finish)
            return unit(images, _locate(steps, sizes, fill_mode, jit) if cells is None else cells)

        def moved(images: tf.Tensor, smooth: bool, fill: float, finish: Finish) -> tf.Tensor:
            ways = lambda: _copied(copying, images, finish, jit), lambda: read(images, smooth, fill, finish)
            result = tf.cond(tf.reduce_all(when), *ways) if only and when else ways[0 if only else 1]()
            return tf.ensure_shape(result, [images.shape[0], *static, images.shape[-1]])

        masks = None if batch.masks is None else moved(batch.masks, False, 0, tf.identity)
        images = moved(batch.images, interpolation == "bilinear", fill_value, finish)
        return move_annotations(steps, batch, sizes[-1]).replace(images=images, masks=masks)

    def get_config(self) -> dict[str, Any]:
        own = {"fill_mode": self.fill_mode, "interpolation": self.interpolation, "fill_value": self.fill_value}
        return {**super().get_config(), **own}


def _copied(steps: Sequence[Any], images: tf.Tensor, finish: Finish, jit: bool) -> tf.Tensor:
    for place, step in enumerate(steps, 1):
        last = finish if place == len(steps) else tf.identity
        images = compiled(_finished, jit, kernel=step.kernel, finish=last, **step.settings)(images, *step.tensors)
    return images


def _finished(*tensors: tf.Tensor, kernel: Callable[..., tf.Tensor], finish: Finish, **settings: Any) -> tf.Tensor:
    return finish(kernel(*tensors, **settings))


def _locate(
    steps: Sequence[tuple[GeometricLayer, Parameters]], sizes: list[Size], fill_mode: str, jit: bool
) -> resample.Cells:
    """Follows the output's pixels back through the layers, the last one first, to the cells they are read from."""
    x, y = resample.grid(sizes[-1])
    moved, projective = False, False
    pending: list[tf.Tensor] = []  # the matrices met since the last field, in the layers' order
    for place in reversed(range(len(steps))):
        layer, parameters = steps[place]
        if "field" not in parameters:
            pending.insert(0, parameters["out_to_in"])
            projective |= layer.projective
            continue
        if pending:
            x, y = compiled(resample.positions, jit, projective=projective)(_product(pending, jit), x, y)
        field = parameters["field"]
        if moved or pending:  # the field lives on its layer's own pixels: read it between them
            field = _read_field(field, x, y, sizes[place + 1], jit)
        x, y = compiled(resample.displaced, jit)(x, y, field)
        moved, projective, pending = True, False, []

    matrix = _product(pending, jit) if pending else None
    return compiled(_cells, jit, projective=projective, fill_mode=fill_mode)(matrix, x, y, sizes[0])


def _cells(
    matrix: tf.Tensor | None, x: tf.Tensor, y: tf.Tensor, size: Size, projective: bool, fill_mode: str
) -> resample.Cells:
    x, y = (x, y) if matrix is None else resample.positions(matrix, x, y, projective)
    return resample.cells(x, y, size, fill_mode)


def _read(images: tf.Tensor, cells: resample.Cells, reader: Any, finish: Finish, **filling: Any) -> tf.Tensor:
    return finish(reader(images, cells, **filling))


def _product(factors: list[tf.Tensor], jit: bool) -> tf.Tensor:
    return compiled(matrices.product, jit and len(factors) > 1)(*factors)


def _read_field(field: tf.Tensor, x: tf.Tensor, y: tf.Tensor, size: Size, jit: bool) -> tf.Tensor:
    """A field of an image of `size` at positions between its pixels; beyond the border it goes on as at the border."""
    spots = compiled(resample.cells, jit, fill_mode="nearest")(x, y, size)
    return compiled(resample.bilinear, jit, fill_mode="nearest")(field, spots)


def move_annotations(steps: Sequence[tuple[GeometricLayer, Parameters]], batch: Batch, size: Size) -> Batch:
    """`batch` with its boxes and keypoints where `steps` move them, in images that then have `size`."""
    changes: dict[str, Any] = {}
    if batch.boxes is not None:
        changes["boxes"] = _move_boxes(steps, batch.boxes, size)
    if batch.keypoints is not None:
        points, rest = batch.keypoints[..., :2], batch.keypoints[..., 2:]
        moved = _move_points(steps, tf.cast(points, tf.float32))
        changes["keypoints"] = tf.concat([to_dtype(moved, batch.keypoints.dtype), rest], -1)
    return batch.replace(**changes)


def _move_points(steps: Sequence[tuple[GeometricLayer, Parameters]], points: tf.Tensor) -> tf.Tensor:
    """Where input points (B, N, 2), (x, y) of pixel centres, come out."""
    for _, parameters in steps:
        if "field" in parameters:
            points = box_kernels.invert_field(points, parameters["field"])
        else:
            points = geometry.transform(matrices.inverse(parameters["out_to_in"]), points)
    return points


def _move_boxes(steps: Sequence[tuple[GeometricLayer, Parameters]], boxes: Boxes, size: Size) -> Boxes:
    """Boxes around the moved outlines, cut to the image; one that left it is marked empty by the label -1."""
    bends = any("field" in parameters for _, parameters in steps)
    outline = box_kernels.outline(boxes.corners, _FIELD_POINTS_PER_SIDE if bends else 1)
    shape = tf.shape(outline)
    edges_to_centres = 0.5  # a pixel's centre lies half a pixel from its edges
    flat = tf.reshape(outline - edges_to_centres, [shape[0], -1, 2])
    moved = tf.reshape(_move_points(steps, flat) + edges_to_centres, shape)
    corners, visible = box_kernels.clip(box_kernels.hull(moved), size)
    return boxes.only(visible, corners)
