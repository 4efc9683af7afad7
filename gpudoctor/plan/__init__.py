"""All services of one machine at once: what each needs, where each goes, what happens as it is written."""
