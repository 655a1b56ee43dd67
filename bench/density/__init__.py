"""Serves a thousand deployments of fitted estimators on one machine, and breaks workers and hosts meanwhile."""
