"""The built-in studies, as files."""
