"""Servers that tests start beside the service: databases, brokers, stores, proxies, receivers, a browser."""
