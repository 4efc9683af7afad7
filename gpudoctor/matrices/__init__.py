"""Dated tables of what runs with what, and their typed readers."""

#: The newest retrieval date of any table.
MATRICES_DATE = "2026-11-20"
