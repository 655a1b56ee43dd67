"""Artifacts of models as bytes: which runtime has written them, and pickles with the code that they need."""
