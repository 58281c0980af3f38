"""Certificate files: writing, reading, verification without a search, and the audit in a second arithmetic."""
