"""From log files to sessions: what all formats share so far, lines of JSON and values that may be of any type."""
