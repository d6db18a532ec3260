"""Released suites: frozen, verified, described."""
