"""Training recipes of the models that Seatrial bundles."""
