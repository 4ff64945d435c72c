"""What every wing stands on: commands, errors, neighbour search, devices, threads, storage.

Nothing here knows of slices or of the method.
"""
