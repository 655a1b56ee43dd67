"""Deployments: deploys and undeploys model versions, and shows what is desired and observed."""
