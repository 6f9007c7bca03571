"""Tensors in one process: the Causal-DiT, its ring KV cache, the Stream-VAE."""
