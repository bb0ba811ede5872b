"""What a process needs whatever it computes: files that appear whole, NetCDF, checkpoints, logs and
progress, memory, the device, and where a result comes from. Imports nothing of the package but
``errors``."""
