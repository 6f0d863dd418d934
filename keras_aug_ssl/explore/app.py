"""The page: three tabs over the functions of this room. It needs no network, and listens to this machine only."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.explore import attacks_seen, doubts, stacks
from keras_aug_ssl.explore.draws_seen import SIDE, see

OWNER = "explore"
START = [("RandomFlip", {}), ("RandomRotation", {"factor": 0.05})]
MOST_IMAGES = 4
LOCAL = "127.0.0.1"
FONT, MONO = ["system-ui", "sans-serif"], ["ui-monospace", "monospace"]  # Gradio's own are fetched from the net


def launch(images: Sequence[np.ndarray] = (), *, host: str = LOCAL, port: int | None = None, block: bool = True) -> Any:
    """Shows the explorer until it is interrupted.

    Args:
        images: (H, W, 3) uint8 each, to begin with; without any, two photographs that come with scikit-learn.
        host: who may reach it; the default is this machine alone. There is no password, and who
            reaches the page can read and write tables where this process can.
        port: of the page; None for the first free one from 7860 on.
        block: False returns at once.

    Returns:
        The Gradio app, whose `local_url` is the page and whose `close()` ends it.

    Raises:
        ImportError: without Gradio; names the extra to install.
    """
    app = build(images)
    theme = _gradio().themes.Default(font=FONT, font_mono=MONO)
    app.launch(
        server_name=host, server_port=port, theme=theme, share=False, ssr_mode=False, prevent_thread_lock=not block,
        footer_links=[],
    )  # fmt: skip
    return app


def build(images: Sequence[np.ndarray] = ()) -> Any:
    """The page as a `gradio.Blocks`, not yet shown; for `images` see `launch`."""
    gr = _gradio()
    with gr.Blocks(title="keras_aug_ssl explorer", analytics_enabled=False) as app:
        with gr.Tab("Augment"):
            _augment_tab(gr, [_square(image) for image in images or _photographs()][:MOST_IMAGES])
        with gr.Tab("Attack"):
            _attack_tab(gr)
        with gr.Tab("Pseudo-labels"):
            _doubts_tab(gr)
    return app


def _augment_tab(gr: Any, images: list[np.ndarray]) -> None:
    shown, stack, number = gr.State(images), gr.State(START), gr.State(0)
    with gr.Row():
        with gr.Column(scale=1):
            files = gr.File(file_count="multiple", file_types=["image"], label="Your images")
            name = gr.Dropdown(list(stacks.KNOBS), value="RandomZoom", label="Layer", elem_id="layer")
            add = gr.Button("Add the layer", elem_id="add")
            annotated = gr.Checkbox(label="With a mask and a box, to see them follow")
            _knobs(gr, stack)
            again = gr.Button("Other draws", elem_id="again")
        with gr.Column(scale=2):
            grid = gr.Image(show_label=False, elem_id="grid", format="png", interactive=False)
            plan = gr.Textbox(label="What runs together, and what it costs", elem_id="plan", lines=3)
            parameters = gr.JSON(label="What was drawn for the first copy of the first image")
            code = gr.Code(language="python", label="Python", elem_id="code", interactive=False)
            with gr.Accordion("JSON", open=False):
                configuration = gr.Code(language="json", show_label=False, interactive=False)

    def draw(images: Any, stack: Any, number: int, annotated: bool) -> tuple[Any, ...]:
        if not stack:
            return None, "Add a layer.", [], "", ""
        seen = see(images, stack, number, annotated=annotated)
        told = f"{seen.plan}\n{seen.milliseconds:.2f} ms an image, called eagerly"
        return seen.grid, told, seen.parameters, seen.code, seen.json

    pages = [grid, plan, parameters, code, configuration]
    add.click(stacks.add, [stack, name], stack)
    files.upload(functools.partial(_told, gr, _read), files, shown)
    again.click(lambda number: number + 1, number, number)
    gr.on(None, draw, [shown, stack, number, annotated], pages)  # at first, and when any of them changes


def _knobs(gr: Any, stack: Any) -> None:
    """A slider for each number of each layer, laid anew when the stack changes."""

    @gr.render(inputs=stack)
    def lay(layers: Any) -> None:
        for place, (name, values) in enumerate(layers):
            with gr.Group():
                gr.Markdown(f"**{place + 1}. {name}**")
                for argument, (low, high, _) in stacks.KNOBS[name].items():
                    step = 1 if stacks.is_whole(name, argument) else 0.01
                    given = {"value": values[argument], "step": step, "label": argument}
                    slider = gr.Slider(low, high, **given, elem_id=f"knob-{place}-{argument}", interactive=True)
                    slider.release(functools.partial(_changed, place, argument), [stack, slider], stack)
                gr.Button("Remove", size="sm").click(functools.partial(_removed, place), stack, stack)


def _changed(place: int, argument: str, stack: Any, value: float) -> Any:
    return stacks.changed(stack, place, argument, value)


def _removed(place: int, stack: Any) -> Any:
    return stacks.removed(stack, place)


def _attack_tab(gr: Any) -> None:
    with gr.Row():
        with gr.Column(scale=1):
            model = gr.File(file_types=[".keras"], label="A model, a .keras file")
            image = gr.Image(label="An image", type="numpy")
            name = gr.Radio(list(attacks_seen.ATTACKS), value="PGD", label="Attack")
            share = gr.Slider(0, 0.5, value=0.03, step=0.005, label="epsilon, in shares of black to white")
            go = gr.Button("Attack", elem_id="attack")
        with gr.Column(scale=2):
            with gr.Row():
                pictures = [gr.Image(label=text) for text in ("As it is", "The change, magnified", "Attacked")]
            with gr.Row():
                readings = [gr.Label(label=text) for text in ("The model reads", "Attacked, it reads")]

    def run(model: Any, image: Any, name: str, share: float) -> tuple[Any, ...]:
        if model is None or image is None:
            raise gr.Error("Give a model and an image.")
        found = _told(gr, attacks_seen.attack, _told(gr, _load, model), image, name, share)
        return found.image, found.change, found.attacked, found.before, found.after

    go.click(run, [model, image, name, share], [*pictures, *readings])


def _doubts_tab(gr: Any) -> None:
    gr.Markdown("The least sure first. Change labels in the table, and save: the original stays as it is.")
    path = gr.Textbox(label="A table that SelfTraining.table().to_csv or pseudo-label wrote", elem_id="table-path")
    names = gr.State([])
    rows = gr.Dataframe(type="array", interactive=True, elem_id="table")
    save, said = gr.Button("Save beside the original", elem_id="save"), gr.Markdown(elem_id="saved")

    def read(path: str) -> tuple[Any, Any]:
        columns, found = _told(gr, doubts.read, path)
        return columns, gr.Dataframe(found, headers=columns)

    def keep(path: str, columns: Any, shown: Any) -> str:
        file, count = _told(gr, doubts.save_corrected, path, columns, shown)
        return f"{count} labels corrected in {file}"

    path.submit(read, path, [names, rows])
    save.click(keep, [path, names, rows], said)


def _told(gr: Any, function: Any, *arguments: Any) -> Any:
    """Calls a function; what a user can mend is shown on the page."""
    try:
        return function(*arguments)
    except (ValueError, TypeError, OSError, tf.errors.OpError) as error:
        raise gr.Error(str(error)) from error


def _load(path: str) -> keras.Model:
    """A saved model; code in the file, as a `Lambda` brings it, isn't run."""
    return keras.saving.load_model(path, safe_mode=True)


def _read(files: Sequence[str] | None) -> list[np.ndarray]:
    """The images of files, as they are shown."""
    contents = [Path(file).read_bytes() for file in (files or [])[:MOST_IMAGES]]
    images = [tf.io.decode_image(content, channels=3, expand_animations=False).numpy() for content in contents]
    return [_square(image) for image in images or _photographs()]


def _square(image: np.ndarray) -> np.ndarray:
    """The middle of an image, (SIDE, SIDE, 3) uint8."""
    side = min(image.shape[:2])
    top, left = ((length - side) // 2 for length in image.shape[:2])
    middle = image[top : top + side, left : left + side, :3]
    return np.asarray(tf.cast(tf.round(tf.image.resize(middle, (SIDE, SIDE), antialias=True)), tf.uint8))


def _photographs() -> list[np.ndarray]:
    datasets = checks.optional_package(OWNER, "sklearn.datasets", "demo")
    return [datasets.load_sample_image(name) for name in ("flower.jpg", "china.jpg")]


def _gradio() -> Any:
    """Gradio, if it is there."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # it is read when Gradio is imported
    checks.optional_package(OWNER, "matplotlib.figure", "demo")
    return checks.optional_package(OWNER, "gradio", "explore")
