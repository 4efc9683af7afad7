"""Commands of maintainers, which do not ship."""
