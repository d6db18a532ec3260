"""What is to be run: suites, runs and their identities, and where files stand."""
