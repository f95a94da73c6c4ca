"""The benchmarks' own tests: that they measure what they say, and that they run."""
