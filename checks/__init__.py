"""The built-in checks: one folder per area, one file per check, the manual on top of each."""
