"""The client for asyncio, a module for each group of its calls."""
