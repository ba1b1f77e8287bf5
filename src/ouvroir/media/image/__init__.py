"""Pictures: decoding, augmentation, models and tasks."""
