"""Models: registers versions over HTTP, and shows and deletes them."""
