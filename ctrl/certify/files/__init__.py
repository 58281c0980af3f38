"""Certificates as files: writing, reading, verifying again without a search, and the audit in a second arithmetic."""
