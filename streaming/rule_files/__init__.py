"""Rules as files: word lists, CSV, Discord AutoMod JSON, in and out. Knows no database and no web."""

from streaming.rule_files.csv import write_csv
from streaming.rule_files.decoding import decode
from streaming.rule_files.reading import MAX_BYTES, flaw, read
from streaming.rule_files.rows import COLUMNS, FileError, Reading, Refusal, Row

__all__ = ["COLUMNS", "MAX_BYTES", "FileError", "Reading", "Refusal", "Row", "decode", "flaw", "read", "write_csv"]
