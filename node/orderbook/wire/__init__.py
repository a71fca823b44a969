"""The encodings of every hop, versioned: the envelope of a log entry and the frames between peers.

This package knows shapes, not meanings: it imports nothing else of ``orderbook``.
"""
