"""LoRA training that can be planned, killed and repeated."""
