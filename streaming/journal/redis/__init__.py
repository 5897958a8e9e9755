"""A journal shared by several workers, in Redis or Valkey: see journal.py."""

from streaming.journal.redis.journal import SEAL_JUMP, RedisJournal

__all__ = ["SEAL_JUMP", "RedisJournal"]
