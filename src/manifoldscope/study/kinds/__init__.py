"""The kinds of units: one file each, found without being named anywhere else."""
