"""Seatrial: the yard where coding-agent work is tried before it sails."""

__version__ = "0.1.0"
