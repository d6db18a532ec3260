"""What several rivals use."""
