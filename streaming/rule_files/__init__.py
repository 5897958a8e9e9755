"""Reads rules from word lists, CSV and Discord AutoMod JSON, and writes CSV. Uses neither database nor requests."""

from streaming.rule_files.csv import write_csv
from streaming.rule_files.decoding import decode
from streaming.rule_files.reading import MAX_BYTES, find_problem, read
from streaming.rule_files.rows import COLUMNS, FileError, ParsedFile, Refusal, Row, RowKey

__all__ = [
    "COLUMNS",
    "MAX_BYTES",
    "FileError",
    "ParsedFile",
    "Refusal",
    "Row",
    "RowKey",
    "decode",
    "find_problem",
    "read",
    "write_csv",
]
