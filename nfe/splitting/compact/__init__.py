"""Compact fission: each path on small dense layers of its own."""
