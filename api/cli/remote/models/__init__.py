"""Commands that register, tag, name, show and delete versions of models."""
