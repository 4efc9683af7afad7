"""What containers can and cannot see of the GPUs."""
