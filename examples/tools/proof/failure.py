"""The one exception that ends a run with a sentence instead of a traceback."""


class Failed(Exception):
    """The run cannot go on; the text says why in one sentence."""
