"""Commands that deploy, change, undeploy and show deployments."""
