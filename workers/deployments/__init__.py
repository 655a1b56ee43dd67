"""The status of deployments, and the snapshots that submits use while the registry is away."""
