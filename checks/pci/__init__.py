"""The PCI bus."""
