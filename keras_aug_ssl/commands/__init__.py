"""The commands of `python -m keras_aug_ssl`, one module each: `add_arguments` says what it takes, `run` does it.

Whatever the user may have got wrong is checked under `bad_input`, which turns the error into one line and exit code 2.
Past it an exception is a fault of this library and keeps its traceback.
"""
