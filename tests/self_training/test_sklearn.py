"""What scikit-learn asks of its SelfTrainingClassifier, asked of the callback."""

from __future__ import annotations

import numpy as np
import pytest

import keras_aug_ssl as kas
from tests.helpers import clusters, equal_weights, network, run

X, Y, POOL, HIDDEN = clusters()


def trained(epochs=8, **options):
    st = kas.SelfTraining(POOL, **({"start_epoch": 3, "relabel": False} | options))
    model = network()
    run(st, model, epochs=epochs)
    return st, model


def test_no_rounds_is_plain_training():
    st, model = trained(max_iter=0)
    plain = network()
    plain.fit(st.training_set(X, Y, batch_size=8, steps=6), epochs=8, verbose=0)
    assert equal_weights(model, plain)
    assert st.n_iter_ == 0 and (st.labeled_iter_[len(X) :] == -1).all() and st.termination_condition_ == "max_iter"


def test_given_labels_never_change():
    st, _ = trained(select=kas.rules.Threshold(0.0), relabel=True)
    np.testing.assert_array_equal(st.transduction_[: len(Y)], Y)
    np.testing.assert_array_equal(st.labeled_iter_[: len(Y)], 0)
    assert len(st.transduction_) == len(st.labeled_iter_) == len(Y) + len(POOL)


def test_k_best_takes_k_each_round_and_the_most_confident():
    st, _ = trained(select=kas.rules.TopK(7, per_class=False), max_iter=1)
    table = st.table()
    assert table["selected"].sum() == 7
    assert table["confidence"][table["selected"]].min() >= np.sort(table["confidence"])[-7]
    st, _ = trained(select=kas.rules.TopK(7, per_class=False), max_iter=4)
    np.testing.assert_array_equal(np.bincount(st.labeled_iter_[len(X) :] + 1)[2:], [7, 7, 7, 7])


def test_labels_are_kept_for_good_unless_rows_are_relabelled():
    st, _ = trained(select=kas.rules.TopK(5), max_iter=1)
    first = st.transduction_.copy()
    kept = first[len(Y) :] != -1
    again, _ = trained(select=kas.rules.TopK(5), max_iter=3, epochs=9)
    np.testing.assert_array_equal(again.transduction_[len(Y) :][kept], first[len(Y) :][kept])
    assert (again.labeled_iter_[len(Y) :][kept] == 1).all()


def test_rounds_are_counted():
    st, _ = trained(select=kas.rules.TopK(4), max_iter=2)
    assert st.n_iter_ == 2 and set(st.labeled_iter_) == {-1, 0, 1, 2}
    assert trained(every=2, epochs=9)[0].n_iter_ == 3


def test_termination_max_iter():
    assert trained(select=kas.rules.TopK(1), max_iter=2)[0].termination_condition_ == "max_iter"


def test_termination_no_change():
    st, _ = trained(select=kas.rules.Threshold(1.0) & kas.rules.TopK(1, per_class=False), epochs=4)
    assert st.termination_condition_ == "no_change" and st.n_iter_ == 1


def test_termination_all_labeled_ends_the_rounds():
    st, _ = trained(select=kas.rules.Threshold(0.0), epochs=8)
    assert st.termination_condition_ == "all_labeled" and st.n_iter_ == 1
    assert -1 not in st.transduction_


def test_better_than_supervised():
    # One labeled row a class, far from the middle of its class: the pool shows where the border is.
    random = np.random.default_rng(1)
    y = np.repeat([0, 1], 200)
    x = np.stack([3.0 * y - 1.5 + random.normal(size=400) * 0.3, random.normal(size=400)], axis=1).astype("float32")
    labeled, labels = np.array([[-1.0, 1.0], [1.0, -1.0]], "float32"), np.array([0, 1])

    def accuracy(**options):
        st = kas.SelfTraining(x, kas.rules.TopFraction(0.2, step=0.1), start_epoch=5, **options)
        model = network(classes=2)
        run(st, model, epochs=15, task=(labeled, labels), steps=20)
        return np.mean(model.predict(x, verbose=0).argmax(1) == y)

    assert accuracy() > accuracy(max_iter=0) + 0.05


def test_an_empty_pool_is_an_error():
    with pytest.raises(ValueError, match="UnlabeledPool: `x` must be at least one example"):
        kas.SelfTraining(np.empty((0, 3), "float32"))


@pytest.mark.parametrize(
    "options",
    [
        {"max_iter": -1},
        {"start_epoch": -1},
        {"every": 0},
        {"weight": 0.0},
        {"temperature": 0.0},
        {"labels": "medium"},
        {"on_alarm": "panic"},
        {"teacher": "wise"},
        {"select": kas.rules.TargetPrecision(0.9)},
        {"oracle": [1, 2]},
    ],
)
def test_invalid_parameters_are_named(options):
    with pytest.raises(ValueError, match=f"SelfTraining: `({next(iter(options))}|holdout)` must be"):
        kas.SelfTraining(POOL, **options)


@pytest.mark.parametrize("options", [{"select": 0.95}, {"relabel": 0.5}, {"select": kas.rules.Threshold}])
def test_wrong_kinds_are_named(options):
    with pytest.raises(TypeError, match=f"SelfTraining: `{next(iter(options))}` must be"):
        kas.SelfTraining(POOL, **options)


def test_scoring_shows_a_progress_bar_when_fit_does(capsys):
    st = kas.SelfTraining(POOL, start_epoch=0, max_iter=1)
    network().fit(st.training_set(X, Y, steps=1), epochs=1, callbacks=[st], verbose=1)
    assert f"{len(POOL)}/{len(POOL)}" in capsys.readouterr().out
    st = kas.SelfTraining(POOL, start_epoch=0, max_iter=1)
    network().fit(st.training_set(X, Y, steps=1), epochs=1, callbacks=[st], verbose=0)
    assert capsys.readouterr().out == ""
