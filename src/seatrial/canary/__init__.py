"""Did a coding agent change?  In the making: a reader of logs, the model of a session, statistics over sessions.

Other readers, history, verdict and report are not built yet; `seatrial canary` does not exist.
"""
