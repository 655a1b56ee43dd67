"""Fetches messages from Redis or RabbitMQ, holds their leases, and gives them back."""
