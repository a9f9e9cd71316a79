"""Tagging of personal data."""
