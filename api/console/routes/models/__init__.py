"""Pages of models: versions, aliases, registration by upload, and the artifact store."""
