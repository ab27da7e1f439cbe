"""Did a coding agent change?  In the making: the model of what happened in a session, and the statistics over sessions.

Readers, history, verdict and report are not built yet; `seatrial canary` does not exist.
"""
