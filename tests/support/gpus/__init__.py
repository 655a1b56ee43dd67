"""What tests of GPUs need on a machine without one."""
