"""The front door: Flask lives here and nowhere else."""
