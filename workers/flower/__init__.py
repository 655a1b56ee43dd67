"""Flower, configured by the settings; without a password it answers only this machine."""
