"""streamtwin: a calibrated twin of a streaming video-diffusion deployment."""

__version__ = "0.1.0"
