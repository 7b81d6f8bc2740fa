"""`workers`: the work that jobs ask for, one file for each kind (docs/workers.md)."""
