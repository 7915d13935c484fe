"""The workloads that need nothing but Python: one file for each kind, each with its CASES."""
