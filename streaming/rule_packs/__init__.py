"""Lists of rules that come with the product, off until somebody adds and enables them."""

from streaming.rule_packs.links import LINKS
from streaming.rule_packs.pack import Pack, PackRule, title_in
from streaming.rule_packs.personal_data import PERSONAL_DATA
from streaming.rule_packs.secrets import SECRETS

PACKS = {pack.name: pack for pack in (SECRETS, PERSONAL_DATA, LINKS)}

__all__ = ["PACKS", "Pack", "PackRule", "title_in"]
