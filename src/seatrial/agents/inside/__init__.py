"""What lies inside of every sandbox: the `seatrial-agent` command, and what an agent is told about where it is."""
