"""A run that is interrupted, anywhere, and started again ends like one that wasn't."""

from __future__ import annotations

import json
import shutil

import keras
import numpy as np
import pytest

import keras_aug_ssl as kas
from tests.helpers import clusters, equal_weights, network

X, Y, POOL, HIDDEN = clusters()
EPOCHS = 6


class Interrupt(keras.callbacks.Callback):
    """Raises at the end of a batch."""

    def __init__(self, epoch, batch):
        super().__init__()
        self.at = epoch, batch

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise KeyboardInterrupt


def setting(backup_dir=None, **options):
    rule = kas.rules.TopFraction(0.1, step=0.1)
    st = kas.SelfTraining(POOL, rule, **({"start_epoch": 2, "backup_dir": backup_dir} | options))
    return st, network(dropout=0.3)


def fit(st, model, *callbacks, epochs=EPOCHS):
    made = st.training_set(X, Y, batch_size=8, steps=5)
    return model.fit(made, epochs=epochs, callbacks=[st, *callbacks], verbose=0)


def same_end(one, other):
    (st, model), (other_st, other_model) = one, other
    assert equal_weights(model, other_model)
    for column in st.table().columns:
        np.testing.assert_array_equal(st.table()[column], other_st.table()[column])
    assert (st.n_iter_, st.termination_condition_) == (other_st.n_iter_, other_st.termination_condition_)


@pytest.fixture(scope="module")
def uninterrupted():
    whole = setting()
    fit(*whole)
    return whole


@pytest.mark.parametrize("at", [(0, 2), (1, 4), (3, 1), (5, 4)])
def test_resumed_equals_uninterrupted(tmp_path, uninterrupted, at):
    with pytest.raises(KeyboardInterrupt):
        fit(*setting(tmp_path), Interrupt(*at))
    resumed = setting(tmp_path)
    history = fit(*resumed)
    assert history.epoch == list(range(at[0], EPOCHS))
    same_end(resumed, uninterrupted)
    assert not list(tmp_path.iterdir())


def test_labels_kept_for_good_and_soft_targets_are_resumed(tmp_path):
    def options(backup_dir=None):
        st, _ = setting(backup_dir, relabel=False, labels="soft")
        return st, network(dropout=0.3, loss="categorical_crossentropy")

    whole = options()
    fit(*whole)
    with pytest.raises(KeyboardInterrupt):
        fit(*options(tmp_path), Interrupt(4, 1))
    resumed = options(tmp_path)
    fit(*resumed)
    same_end(resumed, whole)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's save_weights
@pytest.mark.parametrize("metadata_epoch", [3, 4])
def test_beside_backup_and_restore_even_when_its_files_disagree(tmp_path, uninterrupted, metadata_epoch):
    def keras_backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "keras")

    with pytest.raises(KeyboardInterrupt):
        fit(*setting(tmp_path / "pool"), keras_backup(), Interrupt(4, 2))
    # Killed between writing weights and epoch, it would resume the epoch before with the weights after it.
    metadata = tmp_path / "keras" / "training_metadata.json"
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | {"epoch": metadata_epoch}))
    resumed = setting(tmp_path / "pool")
    history = fit(*resumed, keras_backup())
    assert history.epoch[0] == metadata_epoch
    same_end(resumed, uninterrupted)


def test_a_fit_after_a_resumed_one_begins_at_its_own_first_epoch(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(*setting(tmp_path), Interrupt(3, 1))
    st, model = setting(tmp_path)
    fit(st, model)
    assert fit(st, model, epochs=2).epoch == [0, 1]


def test_a_finished_run_that_was_killed_before_its_end_has_its_pool(tmp_path, uninterrupted):
    st, model = setting(tmp_path / "run")
    saved = tmp_path / "copy"

    class Keep(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            shutil.copytree(tmp_path / "run", saved)

    st.on_train_end, ended = (lambda logs=None: None), st.on_train_end
    fit(st, model, Keep())
    ended()
    resumed = setting(saved)
    assert fit(*resumed).epoch == []
    same_end(resumed, uninterrupted)


def test_a_backup_that_lacks_the_epoch_is_refused(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(*setting(tmp_path), Interrupt(4, 1))
    st, model = setting(tmp_path)

    class Elsewhere(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.model._initial_epoch = 1

    with pytest.raises(ValueError, match="`backup_dir` must be a directory with the state of epoch 1"):
        fit(st, model, Elsewhere())
