"""What is measured: a module for each figure.

A side-by-side figure is a function of one system and the scale; it yields measurements, and is run on every system in
every round. The others start services of their own, once.
"""
