"""What a person types and reads: command lines, configuration files, tables, progress."""
