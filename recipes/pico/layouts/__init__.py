"""One module per family of pages; each has ``TRAIN`` and ``HELD_OUT`` layouts and a ``render``."""
