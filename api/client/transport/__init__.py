"""Transport: carries flows out over HTTP, blocking or on asyncio."""
