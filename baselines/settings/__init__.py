"""The rivals' settings, recipes and versions: one file a method, none of which needs PyTorch."""
