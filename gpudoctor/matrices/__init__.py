"""Dated tables of what runs with what, and their typed readers."""
