"""Network fission: one network's weights divided over several exits."""
