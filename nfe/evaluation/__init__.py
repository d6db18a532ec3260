"""What is measured, from logits and networks alone."""
