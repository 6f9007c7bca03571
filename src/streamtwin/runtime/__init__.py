"""The real executor: one process a rank, the same protocol as the simulator."""
