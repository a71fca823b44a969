"""A replicated limit order book: typed streams, groups that agree through Raft, price-time priority matching."""
