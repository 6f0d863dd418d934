"""The tests of this folder are about the other backends; on TensorFlow all others say the same."""

import keras

collect_ignore_glob = ["test_*.py"] if keras.backend.backend() == "tensorflow" else []
