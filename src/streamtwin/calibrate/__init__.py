"""Measure kernels and hops, fit latency models, keep profiles."""
