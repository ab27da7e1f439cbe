"""The gate: proposals, approvals, and the apply step, which is the only way into production's schema."""
