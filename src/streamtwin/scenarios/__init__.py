"""Data: the catalogue of models, VAEs, GPUs and links, and the scenarios that ship."""
