"""Models, versions, deployments, artifacts and signatures; knows neither queues nor HTTP."""
