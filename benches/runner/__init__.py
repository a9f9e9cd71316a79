"""The pipeline runner."""
