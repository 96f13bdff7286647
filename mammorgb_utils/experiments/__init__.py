"""What an appendix trains or varies."""
