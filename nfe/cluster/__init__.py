"""Machines: the site's settings, what a suite takes, what is missing."""
