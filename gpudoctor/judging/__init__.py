"""What several checks ask of the facts: which card, which build, which remedy. Pure, and no engine's business."""
