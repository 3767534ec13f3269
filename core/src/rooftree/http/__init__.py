"""HTTP: route declarations, canonical paths, binding from signatures, the server."""
