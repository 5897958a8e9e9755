"""Rules for links on the web, and for invitations to other sites and chats."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from streaming.rule_packs.pack import Pack, PackRule

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_TOP_LEVELS = (
    "com|net|org|info|biz|io|app|dev|ai|xyz|top|shop|site|online|club|vip|icu|live|link|click|cc|tv|cn|hk|tw|jp|kr|"
    "ru|uk|de|fr|es|nl|br|eu"
)
_REST = r"(?:[/?#][^\s<>\"'`]{0,1000})?"

LINKS = Pack(
    "links",
    _("Links"),
    _("Web addresses with and without https, invitations to chats, and links that are no web pages."),
    "link",
    rules=(
        PackRule(
            "Web address",
            rf"\bhttps?://(?:[^\s<>\"'`/?#]{{1,255}}){_REST}",
            "RFC 3986, https://www.rfc-editor.org/rfc/rfc3986",
            ("see https://example.org/a?b=c#d now", "[x](http://例子.中国/路径)", "HTTPS://EXAMPLE.ORG"),
            ("https is a protocol", "http://", "xhttp://a"),
        ),
        PackRule(
            "Web address that begins with www",
            rf"\bwww\.(?:{_LABEL}\.){{1,4}}[a-z]{{2,24}}\b{_REST}",
            "RFC 1035, section 2.3.1, https://www.rfc-editor.org/rfc/rfc1035#section-2.3.1",
            ("www.example.org/x", "go to WWW.Example.COM!"),
            ("www", "www.x", "awww.nice.day"),
        ),
        PackRule(
            "Domain in a common top-level domain",
            rf"(?<![\w@.-])(?:{_LABEL}\.){{1,4}}(?:{_TOP_LEVELS})(?![\w-])(?:[/?#][^\s<>\"'`]{{0,1000}})?",
            "https://www.iana.org/domains",
            ("buy at shop.example.com today", "example.cn/路径", "go.example.io/x"),
            ("ann@example.com", "file.txt", "e.g. this", "3.14", "Node.js", "end.In German"),
        ),
        PackRule(
            "Invitation to a chat",
            r"\b(?:discord\.gg|discord(?:app)?\.com/invite|t\.me|telegram\.me|chat\.whatsapp\.com|wa\.me|signal\.group|"
            r"line\.me/r)/[^\s<>\"'`]{1,200}",
            "https://core.telegram.org/api/links, https://discord.com/developers/docs/resources/invite",
            ("join discord.gg/AbC123", "https://t.me/+abc", "wa.me/4930123456"),
            ("about.me/x", "discord.gg"),
        ),
        PackRule(
            "Link that is no web page",
            r"\b(?:mailto|tel|sms|javascript|vbscript|magnet|ftp|ftps|sftp|file|data):[^\s<>\"'`]{2,1000}",
            "https://www.iana.org/assignments/uri-schemes/",
            ("mailto:a@b.c", "javascript:alert(1)", "magnet:?xt=urn:btih:abc", "data:text/html;base64,PGI"),
            ("tel: 12", "the data: it is here", "metadata:abc"),
        ),
    ),
)
