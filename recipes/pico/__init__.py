"""The recipe of the bundled model pico: rendered pages in, a reading SmolVLM checkpoint out."""
