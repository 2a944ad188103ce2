"""Score synthetic CTs against true CTs: match, align, score, compare, report."""
