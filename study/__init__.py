"""What the tables compare and how they are made; run from the repository's root: python -m study.NAME."""
