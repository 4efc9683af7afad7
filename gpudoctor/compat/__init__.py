"""Plan before install: will a release run on a machine, which would, and how it is installed."""
