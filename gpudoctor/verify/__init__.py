"""Comparing files with the checksums stored beside them. It reads what the user names, and writes nothing."""
