"""One question per script; each ends with one line of JSON."""
