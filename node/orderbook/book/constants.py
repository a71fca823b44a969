"""Numbers of the book's formats and rules, each written once.

Codes are part of the log, of events and of snapshots: they are never reused and never renumbered. The enums of
``commands`` and ``events`` are made of them. They stand here as plain constants because compiled modules inline those.
"""

from __future__ import annotations

from typing import Final

# Ranges
MAX_INTEGER: Final = 9007199254740991  # 2^53 - 1: ids, prices, quantities, times; JSON's integers
FIRST_ASSIGNED_ID: Final = 4503599627370496  # 2^52: clients' order ids lie below, assigned ones from here on
MAX_LEVEL_TOTAL: Final = 9223372036854775807  # 2^63 - 1
NEVER: Final = 4611686018427387903  # the expiry of an order that has none
MAX_TRADER: Final = 256  # characters of a trader's name
MAX_PAIRS: Final = 1024
MAX_FILLS_KEPT: Final = 100000
MAX_WINDOW_MS: Final = 86400000
EXPIRIES_PER_ENTRY: Final = 1000
CANCELS_PER_ENTRY: Final = 4096  # orders that mass cancels look at: before an entry's commands, by them, in their way

# Operations, the first place of an encoded command
PLACE: Final = 1
CANCEL: Final = 2
AMEND: Final = 3
CANCEL_ALL: Final = 4
DEFINE_PAIR: Final = 10
CHANGE_PAIR: Final = 11
HALT_PAIR: Final = 12
RESUME_PAIR: Final = 13
CONFIGURE: Final = 14
HALT: Final = 15
RESUME: Final = 16

# Roles
OBSERVER: Final = 1
TRADER: Final = 2
ADMIN: Final = 3

# Sides
BID: Final = 1
ASK: Final = 2

# Order types
LIMIT: Final = 1
MARKET: Final = 2

# Times in force
GTC: Final = 1
IOC: Final = 2
FOK: Final = 3
GTD: Final = 4

# What a taker does that meets an order of its own trader
ALLOW: Final = 1
CANCEL_NEWEST: Final = 2
CANCEL_OLDEST: Final = 3
CANCEL_BOTH: Final = 4

# Event kinds
ACCEPTED: Final = 1
REJECTED: Final = 2
FILL: Final = 3
CANCELLED: Final = 4
AMENDED: Final = 5
EXPIRED: Final = 6
PAIR_DEFINED: Final = 7
PAIR_CHANGED: Final = 8
HALTED: Final = 9
RESUMED: Final = 10
KILLED: Final = 11
CONFIGURED: Final = 12
CANCELLED_ALL: Final = 13

# Why an order was cancelled. The first group left the book; the second never rested in it.
REQUESTED: Final = 1
SELF_TRADE: Final = 2
SESSION_CLOSED: Final = 3
TRADING_HALTED: Final = 4
IOC_REMAINDER: Final = 11
MARKET_REMAINDER: Final = 12
SELF_TRADE_TAKER: Final = 13

# Why a command was rejected; 0 is no reason
OK: Final = 0
MALFORMED: Final = 1
NOT_PERMITTED: Final = 2
NOT_OWNER: Final = 3
IS_HALTED: Final = 4
PAIR_IS_HALTED: Final = 5
UNKNOWN_PAIR: Final = 6
UNKNOWN_ORDER: Final = 7
DUPLICATE_ORDER_ID: Final = 8
INVALID_ID: Final = 9
INVALID_PAIR: Final = 10
INVALID_SIDE: Final = 11
INVALID_PRICE: Final = 12
INVALID_QUANTITY: Final = 13
INVALID_TRADER: Final = 14
INVALID_TYPE: Final = 15
INVALID_TIME_IN_FORCE: Final = 16
INVALID_EXPIRY: Final = 17
INVALID_POST_ONLY: Final = 18
INVALID_SELF_TRADE: Final = 19
INVALID_INCREMENT: Final = 20
INVALID_LIMIT: Final = 21
PRICE_OUT_OF_BAND: Final = 22
QUANTITY_ABOVE_LIMIT: Final = 23
QUANTITY_BELOW_FILLED: Final = 24
LEVEL_FULL: Final = 25
EXPIRY_PASSED: Final = 26
WOULD_CROSS: Final = 27
WOULD_NOT_FILL: Final = 28
TOO_MANY_OPEN_ORDERS: Final = 29
RATE_LIMITED: Final = 30
PAIR_EXISTS: Final = 31
TOO_MANY_PAIRS: Final = 32
CANCELS_PENDING: Final = 33
LAST_REASON: Final = 33
