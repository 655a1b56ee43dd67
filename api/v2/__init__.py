"""The Open Inference Protocol (V2): its words turned into ours, and ours into its."""
