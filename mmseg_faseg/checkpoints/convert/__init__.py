"""Released checkpoints, read safely, recognised and renamed."""
