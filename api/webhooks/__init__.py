"""Webhooks: shows their deliveries, and sends them again."""
