"""Environment variables that engines read, or do not."""
