"""The event loops of this service, and what keeps them free: threads beside them, and steps between them."""
