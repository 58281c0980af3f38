"""File access of the whole project: atomic writes, one writer at a time, bounded reads."""

from systems.files.errors import FileError, InUse, OutputError, printable, shown
from systems.files.json_text import json_text, parse_json, read_json, write_json
from systems.files.locking import locked, locked_new, try_lock
from systems.files.reading import read_bytes
from systems.files.writing import Kept, free, kept, names, probe, write

__all__ = [
    "FileError",
    "InUse",
    "Kept",
    "OutputError",
    "free",
    "json_text",
    "kept",
    "locked",
    "locked_new",
    "names",
    "parse_json",
    "printable",
    "probe",
    "read_bytes",
    "read_json",
    "shown",
    "try_lock",
    "write",
    "write_json",
]
