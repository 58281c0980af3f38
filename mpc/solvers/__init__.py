"""Back-ends, one per file: data in, status and point out."""
