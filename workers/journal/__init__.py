"""The journal: the kept inputs and outcomes of jobs, as Parquet files."""
