"""Real Postgres servers: finding the programs, running clusters, connecting."""

from seatrial.database.postgres.cluster import Cluster
from seatrial.database.postgres.connection import connect, explain
from seatrial.database.postgres.installation import Installation, choose, installations

__all__ = ["Cluster", "Installation", "choose", "connect", "explain", "installations"]
