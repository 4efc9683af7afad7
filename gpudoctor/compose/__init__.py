"""Reading Compose projects as Docker Compose does, with the place of everything, and editing them."""
