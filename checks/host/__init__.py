"""The host around the GPUs: memory, disks, ports, limits, clock."""
