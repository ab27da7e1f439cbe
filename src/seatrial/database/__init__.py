"""Database: a real Postgres branch for every preview or agent, and a human gate for schema changes."""
