"""Many nodes' reports as one: which are sick, with what, and which differ from those they should equal."""
