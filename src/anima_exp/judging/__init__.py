"""Answers of several models -> verdicts on every pair of them, by a judge model or by reference."""
