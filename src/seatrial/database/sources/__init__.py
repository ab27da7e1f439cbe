"""Sources: where golden copies come from, and how a copy is made by dump and restore, masked on the way."""
