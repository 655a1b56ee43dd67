"""The OpenAPI document, made from what the routes declare."""
