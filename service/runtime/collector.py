"""Python's collector of objects that only refer to each other."""

import gc

NEW_OBJECTS = 10_000  # after which it looks, instead of 700: hardly anything here is for it


def settle() -> None:
    """Leave alone what is loaded, which stays as long as the process. Before it forks.

    The collector writes into each object that it looks at, so the processes of one parent would
    each have pages of their own.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS)
