"""One file a box of dvc.yaml; thin: read files, call legalqa, write files."""
