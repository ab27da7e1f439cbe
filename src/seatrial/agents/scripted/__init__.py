"""A model server and an agent that follow a script: whole runs with no model, no key and no network."""
