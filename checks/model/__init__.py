"""Health and configuration of each NVIDIA GPU."""
