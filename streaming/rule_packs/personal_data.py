"""Personal data with a format of its own, checked by its check digits where it has some."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from streaming.rule_packs.pack import Pack, PackRule

_BYTE = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"

PERSONAL_DATA = Pack(
    "personal-data",
    _("Personal data"),
    _("E-mail addresses, phone numbers, payment cards, bank accounts, Chinese and US identity numbers, IP addresses."),
    "personal data",
    rules=(
        PackRule(
            "E-mail address",
            r"\b[a-z0-9._%+-]{1,64}@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,8}[a-z]{2,24}\b",
            "RFC 5321, https://www.rfc-editor.org/rfc/rfc5321",
            ("mail ann.b+c@mail.example.org now", "[m](mailto:ab@cd.com)", "ab%40cd.com"),
            ("a@b", "@example.com", "user @ example.com", "a@.com"),
        ),
        PackRule(
            "International phone number",
            r"\+[1-9](?:[ ().-]{0,2}\d){7,14}\b",
            "ITU-T E.164, https://www.itu.int/rec/T-REC-E.164",
            ("+49 30 123456", "+1 (555) 010-9999", "+8613800138000"),
            ("+1 234", "1+1=2", "+0 123 456 789"),
        ),
        PackRule(
            "Chinese mobile number",
            r"(?<![\d.])1[3-9]\d(?:[ -]?\d{4}){2}(?!\d)",
            "Numbering plan of China, https://www.itu.int/oth/T0202000031/en",
            ("电话13800138000。", "138-0013-8000", "138 0013 8000"),
            ("12800138000", "113800138000", "1380013800012", "0.13800138000"),
        ),
        PackRule(
            "North American phone number",
            r"(?<![\d-])(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[-.])[2-9]\d{2}[-.]\d{4}(?![\d-])",
            "North American Numbering Plan, https://www.nanpa.com/numbering/numbering-resources",
            ("call 555-234-5678", "(415) 555-2671", "415.555.2671"),
            ("2026-01-01", "123-456-7890", "1234-555-2671-1"),
        ),
        PackRule(
            "Payment card",
            r"(?<![\d.-])[2-6](?:[ -]?\d){12,18}(?!\d)",
            "ISO/IEC 7812-1, https://www.iso.org/standard/70484.html",
            ("4111 1111 1111 1111", "5555555555554444", "3782-822463-10005", "6200000000000005"),
            ("4111 1111 1111 1112", "1764150000000", "12345678901234567890123"),
            check="luhn",
        ),
        PackRule(
            "Bank account (IBAN)",
            r"\b[a-z]{2}\d{2}(?: ?[a-z0-9]){11,30}\b",
            "ISO 13616, https://www.swift.com/standards/data-standards/iban-international-bank-account-number",
            ("GB82 WEST 1234 5698 7654 32 and more", "DE89370400440532013000", "nl91abna0417164300"),
            ("GB82 WEST 1234 5698 7654 33", "DE00370400440532013000"),
            check="iban",
        ),
        PackRule(
            "Chinese resident identity number",
            r"(?<![0-9a-z])[1-9]\d{5}(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dx](?![0-9a-z])",
            "GB 11643-1999, https://openstd.samr.gov.cn/",
            ("身份证11010519491231002X，", "440524188001010014"),
            ("110105194912310021", "11010519491331002X", "411010519491231002X"),
            check="cn_id",
        ),
        PackRule(
            "US social security number",
            r"(?<![\d-])(?:00[1-9]|0[1-9]\d|[1-57]\d{2}|8\d{2}|6[0-57-9]\d|66[0-57-9])-(?:0[1-9]|[1-9]\d)-\d{4}(?![\d-])",
            "https://www.ssa.gov/employer/randomization.html",
            ("SSN 078-05-1120.",),
            ("000-12-3456", "666-12-3456", "912-12-3456", "123-00-4567", "2026-01-0203"),
        ),
        PackRule(
            "IPv4 address",
            rf"(?<![\d.])(?:{_BYTE}\.){{3}}{_BYTE}(?!\d)",
            "RFC 791, https://www.rfc-editor.org/rfc/rfc791",
            ("from 192.168.0.1.", "8.8.8.8:53"),
            ("256.1.1.1", "1.2.3", "1.2.3.4444"),
        ),
        PackRule(
            "IPv6 address",
            r"(?<![0-9a-z:.])(?:(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}|(?:[0-9a-f]{1,4}:){1,6}(?::[0-9a-f]{1,4}){1,6})(?![0-9a-z:])",
            "RFC 4291, section 2.2, https://www.rfc-editor.org/rfc/rfc4291#section-2.2",
            ("2001:db8::1", "at 2001:0db8:0000:0000:0000:ff00:0042:8329,", "fe80::1%eth0"),
            ("12:30:45", "a::", "std::vector", "10:20"),
        ),
    ),
)
