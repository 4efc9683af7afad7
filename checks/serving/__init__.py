"""Engines at work: what their logs say."""
