"""The OpenAPI document: the fixed routes, what they answer, and a path per endpoint."""
