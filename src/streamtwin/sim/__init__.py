"""The virtual executor: the pipeline as discrete events."""
