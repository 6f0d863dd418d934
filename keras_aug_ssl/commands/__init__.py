"""The commands of `python -m keras_aug_ssl`, one module each: `add_arguments` says what it takes, `run` does it.

Such a module is light, as are those that it imports at its head: TensorFlow is imported after the arguments were read,
and with it the module that holds a command's work. Whatever the user may have got wrong is checked by the type of an
argument (`options`), or under `bad_input`, which turns the error into one line and exit code 2. Past it an exception is
a fault of this library and keeps its traceback. A `KeyboardInterrupt` carries what is kept.
"""
