"""Figures, tables and the claims ledger."""
