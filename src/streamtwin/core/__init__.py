"""The vocabulary of the twin: types, scenarios, latency models, policies, records, metrics."""
