"""Agents: a hypervisor for coding agents."""
