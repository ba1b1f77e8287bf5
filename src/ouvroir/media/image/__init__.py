"""Pictures: reading them, augmenting them in batches, the networks that look at them, and classification."""
