"""From log files to sessions; Claude Code's so far."""
