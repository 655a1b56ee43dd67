"""The model hosts of one version on one worker: starting, loading, feeding and replacing them."""
