"""Peers of one network find each other and exchange opaque frames over WebSockets.

channel          what groups and streams see             member_channel  the real one
peers            what the rest of the program uses: the listener, live connections, channels
discovery        who is where                            dialler, addresses, service_records  how it is found out
link             one connection: handshake and records   admission       which of two connections lives
handshake        control messages and proofs             framing         records in a message
connection       the socket: queue, keepalive, its end   options, statistics
"""
