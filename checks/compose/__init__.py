"""Checks of the area compose."""
