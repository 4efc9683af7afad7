"""Files of an air-gapped install: whole, complete, and known to be."""
