"""Webhooks: how they are signed, where they may go, and how one is posted."""
