"""The GPUs of one worker: which there are, what is used of them, and which host has which share of one."""
