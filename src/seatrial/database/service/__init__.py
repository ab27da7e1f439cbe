"""The service of a project: one port for all branches; makes, wakes, puts to sleep and removes them."""
