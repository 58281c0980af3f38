"""What the command line can be asked for, one command per file."""
