"""Reports: one file per format; the only place where templates become sentences."""
