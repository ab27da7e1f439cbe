"""GGUF files: the container, its block types, and what SmolVLM checkpoints look like in it."""
