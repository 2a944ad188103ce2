"""Synthetic CTs against true CTs: matched, aligned, scored, reported."""
