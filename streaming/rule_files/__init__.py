"""Reads rules from word lists, tables and the files of other filters, and writes CSV. Pure: no database."""

from streaming.rule_files.csv import LIST_COLUMNS, NO_TABLE, write_csv, write_lists, write_refusals
from streaming.rule_files.decoding import decode
from streaming.rule_files.questions import JOINED, WHOLE_WORD, Answers, ColumnsQuestion, JoinedQuestion, Question
from streaming.rule_files.reading import MAX_BYTES, find_problem, read
from streaming.rule_files.rows import COLUMNS, FileError, ParsedFile, Refusal, Row, RowKey

__all__ = [
    "COLUMNS",
    "JOINED",
    "LIST_COLUMNS",
    "MAX_BYTES",
    "NO_TABLE",
    "WHOLE_WORD",
    "Answers",
    "ColumnsQuestion",
    "FileError",
    "JoinedQuestion",
    "ParsedFile",
    "Question",
    "Refusal",
    "Row",
    "RowKey",
    "decode",
    "find_problem",
    "read",
    "write_csv",
    "write_lists",
    "write_refusals",
]
