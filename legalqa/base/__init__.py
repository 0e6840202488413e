"""Where a base model comes from; each way ends as one plain safetensors folder."""
