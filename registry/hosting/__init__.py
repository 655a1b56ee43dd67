"""Loading and predicting in model hosts and in trials, and the trials themselves: processes that act like a host.

It knows neither queues nor workers; `workers.hosts` imports from here.
"""
