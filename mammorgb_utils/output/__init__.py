"""The one way of saving and showing figures and tables."""
