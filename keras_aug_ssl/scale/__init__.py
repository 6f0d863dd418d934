"""Pseudo-labels for pools that outgrow a machine: the work of a selection in shards, on Ray Data or in this process.

* `pseudo_label` labels Parquet files, images, TFRecords or a `.npy` file with a saved model and a rule of `kas.rules`.
* `Shards` says how the pool is read and cut, `Ray` how many workers there are; `InProcess` does without Ray.
* The result is a folder of Parquet files that `kas.data.pseudo_labelled` reads for `fit`.

Example:
    >>> import keras_aug_ssl as kas
    >>> np.save("pool.npy", np.zeros((100, 4), "float32"))
    >>> shards = kas.scale.Shards("pool.npy", rows=64)
    >>> len(shards), shards.total
    (2, 100)
"""

from keras_aug_ssl.scale.labelling import Result as Result
from keras_aug_ssl.scale.labelling import pseudo_label as pseudo_label
from keras_aug_ssl.scale.shards import Shards as Shards
from keras_aug_ssl.workers import InProcess as InProcess
from keras_aug_ssl.workers import Ray as Ray
