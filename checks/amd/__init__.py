"""AMD GPUs and ROCm."""
