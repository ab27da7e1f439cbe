"""Masking: a policy as data, and the functions that replace values so that the same value gives the same result."""
