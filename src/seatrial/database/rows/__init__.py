"""Rows: what a branch has added, changed and deleted, and the change that does the same to production."""
