"""Docker and the NVIDIA Container Toolkit."""
