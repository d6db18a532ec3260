"""The exit statuses of nfe-bench."""

# Exit statuses beyond 0 (done) and 2 (input that cannot be used).
FAILED = 1
INTERRUPTED = 75
