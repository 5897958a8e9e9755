"""What Unicode's data files say and Python's unicodedata does not.

Made by streaming/vendor/unicode_tables.py, from regex 2026.11.19 (Apache License 2.0) and confusable-homoglyphs
3.3.1 (MIT). Unicode's data files are under the Unicode License v3.
"""

RANGES: dict[str, str] = {
    "Adlam": ("1e900-1e94b 1e950-1e959 1e95e-1e95f"),
    "Ahom": ("11700-1171a 1171d-1172b 11730-11746"),
    "Anatolian_Hieroglyphs": ("14400-14646"),
    "Arabic": (
        "600-604 606-60b 60d-61a 61c-61e 620-63f 641-64a 656-66f 671-6dc 6de-6ff 750-77f 870-891 897-8e1 "
        "8e3-8ff fb50-fd3d fd40-fdcf fdf0-fdff fe70-fe74 fe76-fefc 10e60-10e7e 10ec2-10ec7 10ec9-10eee "
        "10ef0-10eff 1ee00-1ee03 1ee05-1ee1f 1ee21-1ee22 1ee24 1ee27 1ee29-1ee32 1ee34-1ee37 1ee39 1ee3b "
        "1ee42 1ee47 1ee49 1ee4b 1ee4d-1ee4f 1ee51-1ee52 1ee54 1ee57 1ee59 1ee5b 1ee5d 1ee5f 1ee61-1ee62 "
        "1ee64 1ee67-1ee6a 1ee6c-1ee72 1ee74-1ee77 1ee79-1ee7c 1ee7e 1ee80-1ee89 1ee8b-1ee9b 1eea1-1eea3 "
        "1eea5-1eea9 1eeab-1eebb 1eef0-1eef1"
    ),
    "Armenian": ("531-556 558-58f fb13-fb17"),
    "Avestan": ("10b00-10b35 10b39-10b3f"),
    "Balinese": ("1b00-1b4c 1b4e-1b7f"),
    "Bamum": ("a6a0-a6f7 16800-16a38"),
    "Bassa_Vah": ("16ad0-16aed 16af0-16af5"),
    "Batak": ("1bc0-1bf3 1bfc-1bff"),
    "Bengali": (
        "980-983 985-98c 98f-990 993-9a8 9aa-9b0 9b2 9b6-9b9 9bc-9c4 9c7-9c8 9cb-9ce 9d7 9dc-9dd 9df-9e3 "
        "9e6-9fe 11df0-11df1"
    ),
    "Bhaiksuki": ("11c00-11c08 11c0a-11c36 11c38-11c45 11c50-11c6c"),
    "Bopomofo": ("2ea-2eb 3105-312f 31a0-31bf"),
    "Brahmi": ("11000-1104d 11052-11075 1107f"),
    "Braille": ("2800-28ff"),
    "Buginese": ("1a00-1a1b 1a1e-1a1f"),
    "Buhid": ("1740-1753"),
    "Canadian_Aboriginal": ("1400-167f 18b0-18f5 11ab0-11abf"),
    "Carian": ("102a0-102d0"),
    "Caucasian_Albanian": ("10530-10563 1056f"),
    "Chakma": ("11100-11134 11136-11147"),
    "Cham": ("aa00-aa36 aa40-aa4d aa50-aa59 aa5c-aa5f"),
    "Cherokee": ("13a0-13f5 13f8-13fd ab70-abbf"),
    "Chorasmian": ("10fb0-10fcb"),
    "Common": (
        "0-40 5b-60 7b-a9 ab-b9 bb-bf d7 f7 2b9-2df 2e5-2e9 2ec-2ff 374 37e 385 387 605 60c 61b 61f 640 "
        "6dd 8e2 964-965 e3f fd5-fd8 10fb 16eb-16ed 1735-1736 1802-1803 1805 1cd3 1ce1 1ce9-1cec "
        "1cee-1cf3 1cf5-1cf7 1cfa 2000-200b 200e-2064 2066-2070 2074-207e 2080-208f 20a0-20c4 2100-2125 "
        "2127-2129 212c-2131 2133-214d 214f-215f 2189-218b 2190-2429 2440-244a 2460-27ff 2900-2b73 "
        "2b76-2bff 2e00-2e5d 2e60-2e63 2ff0-3004 3006 3008-3020 3030-3037 303c-303f 309b-309c 30a0 "
        "30fb-30fc 3190-319f 31c0-31e5 31ef 3220-325f 327f-32cf 32ff 3358-33ff 4dc0-4dff a700-a721 "
        "a788-a78a a830-a839 a92e a9cf ab5b ab6a-ab6b fd3e-fd3f fe10-fe19 fe30-fe52 fe54-fe66 fe68-fe6b "
        "feff ff01-ff20 ff3b-ff40 ff5b-ff65 ff70 ff9e-ff9f ffe0-ffe6 ffe8-ffee fff9-fffd 10100-10102 "
        "10107-10133 10137-1013f 10190-1019c 101d0-101fc 102e1-102fb 1bca0-1bca3 1cc00-1ccfc 1cd00-1ceb3 "
        "1ceba-1ced0 1ced2-1ced4 1cedd-1cefd 1cf50-1cfc3 1d000-1d0f5 1d100-1d126 1d129-1d166 1d16a-1d17a "
        "1d183-1d184 1d18c-1d1a9 1d1ae-1d1ff 1d250-1d25a 1d25d-1d281 1d2c0-1d2d3 1d2e0-1d2f3 1d300-1d356 "
        "1d360-1d378 1d400-1d454 1d456-1d49c 1d49e-1d49f 1d4a2 1d4a5-1d4a6 1d4a9-1d4ac 1d4ae-1d4b9 1d4bb "
        "1d4bd-1d4c3 1d4c5-1d505 1d507-1d50a 1d50d-1d514 1d516-1d51c 1d51e-1d539 1d53b-1d53e 1d540-1d544 "
        "1d546 1d54a-1d550 1d552-1d6a6 1d6a8-1d7cb 1d7ce-1d7ff 1db00-1db1c 1ec71-1ecb4 1ed01-1ed3d "
        "1f000-1f02b 1f030-1f093 1f0a0-1f0ae 1f0b1-1f0bf 1f0c1-1f0cf 1f0d1-1f0f5 1f100-1f1ae 1f1e6-1f1ff "
        "1f201-1f202 1f210-1f23b 1f240-1f248 1f250-1f251 1f260-1f265 1f300-1f6d9 1f6dc-1f6ec 1f6f0-1f6fc "
        "1f700-1f7db 1f7e0-1f7eb 1f7f0-1f80b 1f810-1f847 1f850-1f859 1f860-1f887 1f890-1f8ad 1f8b0-1f8bb "
        "1f8c0-1f8c1 1f8d0-1f8d8 1f900-1fa57 1fa60-1fa6d 1fa70-1fa7c 1fa80-1fac6 1fac8 1facc-1fadd "
        "1fadf-1faeb 1faef-1fafa 1fb00-1fb92 1fb94-1fbfa e0001 e0020-e007f"
    ),
    "Coptic": ("3e2-3ef 2c80-2cf3 2cf9-2cff"),
    "Cuneiform": ("12000-12399 12400-12543 12550-125a7 1264c-12686"),
    "Cypriot": ("10800-10805 10808 1080a-10835 10837-10838 1083c 1083f"),
    "Cypro_Minoan": ("12f90-12ff2"),
    "Cyrillic": ("400-484 487-52f 1c80-1c8a 1d2b 1d78 2de0-2dff a640-a69f fe2e-fe2f 1e030-1e06d 1e08f"),
    "Deseret": ("10400-1044f"),
    "Devanagari": ("900-950 955-963 966-97f a8e0-a8ff 11b00-11b0a"),
    "Dives_Akuru": ("11900-11906 11909 1190c-11913 11915-11916 11918-11935 11937-11938 1193b-11946 11950-11959"),
    "Dogra": ("11800-1183b"),
    "Duployan": ("1bc00-1bc6a 1bc70-1bc7c 1bc80-1bc88 1bc90-1bc99 1bc9c-1bc9f"),
    "Egyptian_Hieroglyphs": ("13000-13455 13460-143fa"),
    "Elbasan": ("10500-10527"),
    "Elymaic": ("10fe0-10ff6"),
    "Ethiopic": (
        "1200-1248 124a-124d 1250-1256 1258 125a-125d 1260-1288 128a-128d 1290-12b0 12b2-12b5 12b8-12be "
        "12c0 12c2-12c5 12c8-12d6 12d8-1310 1312-1315 1318-135a 135d-137c 1380-1399 2d80-2d96 2da0-2da6 "
        "2da8-2dae 2db0-2db6 2db8-2dbe 2dc0-2dc6 2dc8-2dce 2dd0-2dd6 2dd8-2dde ab01-ab06 ab09-ab0e "
        "ab11-ab16 ab20-ab26 ab28-ab2e 1e7e0-1e7e6 1e7e8-1e7eb 1e7ed-1e7ee 1e7f0-1e7fe"
    ),
    "Georgian": ("10a0-10c5 10c7 10cd 10d0-10fa 10fc-10ff 1c90-1cba 1cbd-1cbf 2d00-2d25 2d27 2d2d"),
    "Glagolitic": ("2c00-2c5f 1e000-1e006 1e008-1e018 1e01b-1e021 1e023-1e024 1e026-1e02a"),
    "Gothic": ("10330-1034a"),
    "Grantha": (
        "11300-11303 11305-1130c 1130f-11310 11313-11328 1132a-11330 11332-11333 11335-11339 1133c-11344 "
        "11347-11348 1134b-1134d 11350 11357 1135d-11363 11366-1136c 11370-11374"
    ),
    "Greek": (
        "370-373 375-377 37a-37d 37f 384 386 388-38a 38c 38e-3a1 3a3-3e1 3f0-3ff 1d26-1d2a 1d5d-1d61 "
        "1d66-1d6a 1dbf 1f00-1f15 1f18-1f1d 1f20-1f45 1f48-1f4d 1f50-1f57 1f59 1f5b 1f5d 1f5f-1f7d "
        "1f80-1fb4 1fb6-1fc4 1fc6-1fd3 1fd6-1fdb 1fdd-1fef 1ff2-1ff4 1ff6-1ffe 2126 ab65 10140-1018e "
        "101a0 1d200-1d245 1dff3-1dff4"
    ),
    "Gujarati": (
        "a81-a83 a85-a8d a8f-a91 a93-aa8 aaa-ab0 ab2-ab3 ab5-ab9 abc-ac5 ac7-ac9 acb-acd ad0 ae0-ae3 ae6-af1 af9-aff"
    ),
    "Gunjala_Gondi": ("11d60-11d65 11d67-11d68 11d6a-11d8e 11d90-11d91 11d93-11d98 11da0-11da9"),
    "Gurmukhi": (
        "a01-a03 a05-a0a a0f-a10 a13-a28 a2a-a30 a32-a33 a35-a36 a38-a39 a3c a3e-a42 a47-a48 a4b-a4d a51 "
        "a59-a5c a5e a66-a76"
    ),
    "Han": (
        "2e80-2e99 2e9b-2ef3 2f00-2fd5 3005 3007 3021-3029 3038-303b 3400-4dbf 4e00-9fff f900-fa6d "
        "fa70-fad9 16fe2-16fe3 16ff0-16ff6 20000-2a6df 2a700-2b81e 2b820-2cead 2ceb0-2ebe0 2ebf0-2ee5d "
        "2f800-2fa1d 30000-3134a 31350-33479"
    ),
    "Hangul": (
        "1100-11ff 302e-302f 3131-318e 3200-321e 3260-327e a960-a97c ac00-d7a3 d7b0-d7c6 d7cb-d7fb "
        "ffa0-ffbe ffc2-ffc7 ffca-ffcf ffd2-ffd7 ffda-ffdc"
    ),
    "Hanifi_Rohingya": ("10d00-10d27 10d30-10d39"),
    "Hanunoo": ("1720-1734"),
    "Hatran": ("108e0-108f2 108f4-108f5 108fb-108ff"),
    "Hebrew": ("591-5c9 5d0-5ea 5ef-5f4 fb1d-fb36 fb38-fb3c fb3e fb40-fb41 fb43-fb44 fb46-fb4f"),
    "Hiragana": ("3041-3096 309d-309f 1b001-1b11f 1b123 1b132 1b150-1b152 1f200"),
    "Imperial_Aramaic": ("10840-10855 10857-1085f"),
    "Inherited": (
        "300-36f 485-486 64b-655 670 951-954 1ab0-1af0 1cd0-1cd2 1cd4-1ce0 1ce2-1ce8 1ced 1cf4 1cf8-1cf9 "
        "1dc0-1dff 200c-200d 20d0-20f0 302a-302d 3099-309a fe00-fe0f fe20-fe2d 101fd 102e0 1133b "
        "1cf00-1cf2d 1cf30-1cf46 1d127-1d128 1d167-1d169 1d17b-1d182 1d185-1d18b 1d1aa-1d1ad 1d25b-1d25c "
        "e0100-e01ef"
    ),
    "Inscriptional_Pahlavi": ("10b60-10b72 10b78-10b7f"),
    "Inscriptional_Parthian": ("10b40-10b55 10b58-10b5f"),
    "Javanese": ("a980-a9cd a9d0-a9d9 a9de-a9df"),
    "Kaithi": ("11080-110c2 110cd"),
    "Kannada": (
        "c80-c8c c8e-c90 c92-ca8 caa-cb3 cb5-cb9 cbc-cc4 cc6-cc8 cca-ccd cd5-cd6 cdc-cde ce0-ce3 ce6-cef cf1-cf3"
    ),
    "Katakana": (
        "30a1-30fa 30fd-30ff 31f0-31ff 32d0-32fe 3300-3357 ff66-ff6f ff71-ff9d 1aff0-1aff3 1aff5-1affb "
        "1affd-1affe 1b000 1b120-1b122 1b124-1b128 1b155 1b164-1b168"
    ),
    "Kayah_Li": ("a900-a92d a92f"),
    "Kharoshthi": ("10a00-10a03 10a05-10a06 10a0c-10a13 10a15-10a17 10a19-10a35 10a38-10a3a 10a3f-10a48 10a50-10a58"),
    "Khitan_Small_Script": ("16fe4 18b00-18cda 18cff"),
    "Khmer": ("1780-17dd 17e0-17e9 17f0-17f9 19e0-19ff"),
    "Khojki": ("11200-11211 11213-11241"),
    "Khudawadi": ("112b0-112ea 112f0-112f9"),
    "Lao": ("e81-e82 e84 e86-e8a e8c-ea3 ea5 ea7-ebd ec0-ec4 ec6 ec8-ece ed0-ed9 edc-edf"),
    "Latin": (
        "41-5a 61-7a aa ba c0-d6 d8-f6 f8-2b8 2e0-2e4 1d00-1d25 1d2c-1d5c 1d62-1d65 1d6b-1d77 1d79-1dbe "
        "1e00-1eff 2071 207f 2090-209f 212a-212b 2132 214e 2160-2188 2c60-2c7f a722-a787 a78b-a7dd a7e2 "
        "a7f1-a7ff ab30-ab5a ab5c-ab64 ab66-ab69 ab6c-ab6d fb00-fb06 ff21-ff3a ff41-ff5a 10780-10785 "
        "10787-107b0 107b2-107bf 1df00-1df81 1df90-1df96 1dfcd-1dff2 1dff5-1dfff"
    ),
    "Lepcha": ("1c00-1c37 1c3b-1c49 1c4d-1c4f"),
    "Limbu": ("1900-191e 1920-192b 1930-193b 1940 1944-194f"),
    "Linear_A": ("10600-10736 10740-10755 10760-10767"),
    "Linear_B": ("10000-1000b 1000d-10026 10028-1003a 1003c-1003d 1003f-1004d 10050-1005d 10080-100fa"),
    "Lisu": ("a4d0-a4ff 11fb0"),
    "Lycian": ("10280-1029c"),
    "Lydian": ("10920-10939 1093f"),
    "Mahajani": ("11150-11176"),
    "Makasar": ("11ee0-11ef8"),
    "Malayalam": ("d00-d0c d0e-d10 d12-d44 d46-d48 d4a-d4f d54-d63 d66-d7f"),
    "Mandaic": ("840-85b 85e"),
    "Manichaean": ("10ac0-10ae6 10aeb-10af6"),
    "Marchen": ("11c70-11c8f 11c92-11ca7 11ca9-11cb6"),
    "Masaram_Gondi": ("11d00-11d06 11d08-11d09 11d0b-11d36 11d3a 11d3c-11d3d 11d3f-11d47 11d50-11d59"),
    "Medefaidrin": ("16e40-16e9a"),
    "Meetei_Mayek": ("aae0-aaf6 abc0-abed abf0-abf9"),
    "Mende_Kikakui": ("1e800-1e8c4 1e8c7-1e8d6"),
    "Meroitic_Cursive": ("109a0-109b7 109bc-109cf 109d2-109ff"),
    "Meroitic_Hieroglyphs": ("10980-1099f"),
    "Miao": ("16f00-16f4a 16f4f-16f87 16f8f-16f9f"),
    "Modi": ("11600-11644 11650-11659"),
    "Mongolian": ("1800-1801 1804 1806-1819 1820-1878 1880-18aa 11660-1166c"),
    "Mro": ("16a40-16a5e 16a60-16a69 16a6e-16a6f"),
    "Multani": ("11280-11286 11288 1128a-1128d 1128f-1129d 1129f-112a9"),
    "Myanmar": ("1000-109f a9e0-a9fe aa60-aa7f 116d0-116e3"),
    "Nabataean": ("10880-1089e 108a7-108af"),
    "Nandinagari": ("119a0-119a7 119aa-119d7 119da-119e4"),
    "New_Tai_Lue": ("1980-19ab 19b0-19c9 19d0-19da 19de-19df"),
    "Newa": ("11400-1145b 1145d-11461"),
    "Nko": ("7c0-7fa 7fd-7ff"),
    "Nushu": ("16fe1 1b170-1b2fb"),
    "Nyiakeng_Puachue_Hmong": ("1e100-1e12c 1e130-1e13d 1e140-1e149 1e14e-1e14f"),
    "Ogham": ("1680-169c"),
    "Ol_Chiki": ("1c50-1c7f"),
    "Old_Hungarian": ("10c80-10cb2 10cc0-10cf2 10cfa-10cff"),
    "Old_Italic": ("10300-10323 1032d-1032f"),
    "Old_North_Arabian": ("10a80-10a9f"),
    "Old_Permic": ("10350-1037a"),
    "Old_Persian": ("103a0-103c3 103c8-103d5"),
    "Old_Sogdian": ("10f00-10f27"),
    "Old_South_Arabian": ("10a60-10a7f"),
    "Old_Turkic": ("10c00-10c48"),
    "Old_Uyghur": ("10f70-10f89"),
    "Oriya": (
        "b01-b03 b05-b0c b0f-b10 b13-b28 b2a-b30 b32-b33 b35-b39 b3c-b44 b47-b48 b4b-b4d b53-b57 b5c-b5d "
        "b5f-b63 b66-b77"
    ),
    "Osage": ("104b0-104d3 104d8-104fb"),
    "Osmanya": ("10480-1049d 104a0-104a9"),
    "Pahawh_Hmong": ("16b00-16b45 16b50-16b59 16b5b-16b61 16b63-16b77 16b7d-16b8f"),
    "Palmyrene": ("10860-1087f"),
    "Pau_Cin_Hau": ("11ac0-11af8"),
    "Phags_Pa": ("a840-a877"),
    "Phoenician": ("10900-1091b 1091f"),
    "Psalter_Pahlavi": ("10b80-10b91 10b99-10b9c 10ba9-10baf"),
    "Rejang": ("a930-a953 a95f"),
    "Runic": ("16a0-16ea 16ee-16f8"),
    "Samaritan": ("800-82d 830-83e"),
    "Saurashtra": ("a880-a8c5 a8ce-a8d9"),
    "Sharada": ("11180-111df 11b60-11b67"),
    "Shavian": ("10450-1047f"),
    "Siddham": ("11580-115b5 115b8-115dd"),
    "SignWriting": ("1d800-1da8b 1da9b-1da9f 1daa1-1daaf"),
    "Sinhala": ("d81-d83 d85-d96 d9a-db1 db3-dbb dbd dc0-dc6 dca dcf-dd4 dd6 dd8-ddf de6-def df2-df4 111e1-111f4"),
    "Sogdian": ("10f30-10f59"),
    "Sora_Sompeng": ("110d0-110e8 110f0-110f9"),
    "Soyombo": ("11a50-11aa2"),
    "Sundanese": ("1b80-1bbf 1cc0-1cc7"),
    "Syloti_Nagri": ("a800-a82c"),
    "Syriac": ("700-70d 70f-74a 74d-74f 860-86a"),
    "Tagalog": ("1700-1715 171f"),
    "Tagbanwa": ("1760-176c 176e-1770 1772-1773"),
    "Tai_Le": ("1950-196d 1970-1974"),
    "Tai_Tham": ("1a20-1a5e 1a60-1a7c 1a7f-1a89 1a90-1a99 1aa0-1aad"),
    "Tai_Viet": ("aa80-aac2 aadb-aadf"),
    "Takri": ("11680-116b9 116c0-116c9"),
    "Tamil": (
        "b82-b83 b85-b8a b8e-b90 b92-b95 b99-b9a b9c b9e-b9f ba3-ba4 ba8-baa bae-bb9 bbe-bc2 bc6-bc8 "
        "bca-bcd bd0 bd7 be6-bfa 11fc0-11ff1 11fff"
    ),
    "Tangsa": ("16a70-16abe 16ac0-16ac9"),
    "Tangut": ("16fe0 17000-18aff 18d00-18d20 18d80-18df2"),
    "Telugu": (
        "c00-c0c c0e-c10 c12-c28 c2a-c39 c3c-c44 c46-c48 c4a-c4d c55-c56 c58-c5a c5c-c5d c60-c63 c66-c6f c77-c7f"
    ),
    "Thaana": ("780-7b1"),
    "Thai": ("e01-e3a e40-e5b"),
    "Tibetan": ("f00-f47 f49-f6c f71-f97 f99-fbc fbe-fcc fce-fd4 fd9-fda"),
    "Tifinagh": ("2d30-2d67 2d6f-2d70 2d7f"),
    "Tirhuta": ("11480-114c7 114d0-114d9"),
    "Toto": ("1e290-1e2ae"),
    "Ugaritic": ("10380-1039d 1039f"),
    "Vai": ("a500-a62b"),
    "Vithkuqi": ("10570-1057a 1057c-1058a 1058c-10592 10594-10595 10597-105a1 105a3-105b1 105b3-105b9 105bb-105bc"),
    "Wancho": ("1e2c0-1e2f9 1e2ff"),
    "Warang_Citi": ("118a0-118f2 118ff"),
    "Yezidi": ("10e80-10ea9 10eab-10ead 10eb0-10eb1"),
    "Yi": ("a000-a48c a490-a4c6"),
    "Zanabazar_Square": ("11a00-11a47"),
    "Extended_Pictographic": (
        "a9 ae 203c 2049 2122 2139 2194-2199 21a9-21aa 231a-231b 2328 23cf 23e9-23f3 23f8-23fa 24c2 "
        "25aa-25ab 25b6 25c0 25fb-25fe 2600-2604 260e 2611 2614-2615 2618 261d 2620 2622-2623 2626 262a "
        "262e-262f 2638-263a 2640 2642 2648-2653 265f-2660 2663 2665-2666 2668 267b 267e-267f 2692-2697 "
        "2699 269b-269c 26a0-26a1 26a7 26aa-26ab 26b0-26b1 26bd-26be 26c4-26c5 26c8 26ce-26cf 26d1 "
        "26d3-26d4 26e9-26ea 26f0-26f5 26f7-26fa 26fd 2702 2705 2708-270d 270f 2712 2714 2716 271d 2721 "
        "2728 2733-2734 2744 2747 274c 274e 2753-2755 2757 2763-2764 2795-2797 27a1 27b0 27bf 2934-2935 "
        "2b05-2b07 2b1b-2b1c 2b50 2b55 3030 303d 3297 3299 1f004 1f02c-1f02f 1f094-1f09f 1f0af-1f0b0 "
        "1f0c0 1f0cf-1f0d0 1f0f6-1f0ff 1f170-1f171 1f17e-1f17f 1f18e 1f191-1f19a 1f1af-1f1e5 1f201-1f20f "
        "1f21a 1f22f 1f232-1f23a 1f23c-1f23f 1f249-1f25f 1f266-1f321 1f324-1f393 1f396-1f397 1f399-1f39b "
        "1f39e-1f3f0 1f3f3-1f3f5 1f3f7-1f3fa 1f400-1f4fd 1f4ff-1f53d 1f549-1f54e 1f550-1f567 1f56f-1f570 "
        "1f573-1f57a 1f587 1f58a-1f58d 1f590 1f595-1f596 1f5a4-1f5a5 1f5a8 1f5b1-1f5b2 1f5bc 1f5c2-1f5c4 "
        "1f5d1-1f5d3 1f5dc-1f5de 1f5e1 1f5e3 1f5e8 1f5ef 1f5f3 1f5fa-1f64f 1f680-1f6c5 1f6cb-1f6d2 "
        "1f6d5-1f6e5 1f6e9 1f6eb-1f6f0 1f6f3-1f6ff 1f7dc-1f7f0 1f80c-1f80f 1f848-1f84f 1f85a-1f85f "
        "1f888-1f88f 1f8ae-1f8af 1f8bc-1f8bf 1f8c2-1f8cf 1f8d9-1f8ff 1f90c-1f93a 1f93c-1f945 1f947-1f9ff "
        "1fa58-1fa5f 1fa6e-1faff 1fc00-1fffd"
    ),
    "Default_Ignorable_Code_Point": (
        "ad 34f 61c 115f-1160 17b4-17b5 180b-180f 200b-200f 202a-202e 2060-206f 3164 fe00-fe0f feff ffa0 "
        "fff0-fff8 1bca0-1bca3 1d173-1d17a e0000-e0fff"
    ),
}
"""Of each script or property the code points, as ranges in hexadecimal: see ``ranges_of``."""

ACCENTS = (
    "\u0300\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308\u0309\u030a\u030b\u030c\u030d"
    "\u030e\u030f\u0310\u0311\u0312\u0313\u0314\u0315\u0316\u0317\u0318\u0319\u031a\u031b"
    "\u031c\u031d\u031e\u031f\u0320\u0321\u0322\u0323\u0324\u0325\u0326\u0327\u0328\u0329"
    "\u032a\u032b\u032c\u032d\u032e\u032f\u0330\u0331\u0332\u0333\u0334\u0335\u0336\u0337"
    "\u0338\u0339\u033a\u033b\u033c\u033d\u033e\u033f\u0340\u0341\u0342\u0343\u0344\u0345"
    "\u0346\u0347\u0348\u0349\u034a\u034b\u034c\u034d\u034e\u0350\u0351\u0352\u0353\u0354"
    "\u0355\u0356\u0357\u0358\u0359\u035a\u035b\u035c\u035d\u035e\u035f\u0360\u0361\u0362"
    "\u0363\u0364\u0365\u0366\u0367\u0368\u0369\u036a\u036b\u036c\u036d\u036e\u036f\u0483"
    "\u0484\u0485\u0486\u0487\u0488\u0489\u0591\u0592\u0593\u0594\u0595\u0596\u0597\u0598"
    "\u0599\u059a\u059b\u059c\u059d\u059e\u059f\u05a0\u05a1\u05a2\u05a3\u05a4\u05a5\u05a6"
    "\u05a7\u05a8\u05a9\u05aa\u05ab\u05ac\u05ad\u05ae\u05af\u05b0\u05b1\u05b2\u05b3\u05b4"
    "\u05b5\u05b6\u05b7\u05b8\u05b9\u05ba\u05bb\u05bc\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5"
    "\u05c7\u05c8\u05c9\u0610\u0611\u0612\u0613\u0614\u0615\u0616\u0617\u0618\u0619\u061a"
    "\u064b\u064c\u064d\u064e\u064f\u0650\u0651\u0652\u0653\u0654\u0655\u0656\u0657\u0658"
    "\u0659\u065a\u065b\u065c\u065d\u065e\u065f\u0670\u06d6\u06d7\u06d8\u06d9\u06da\u06db"
    "\u06dc\u06df\u06e0\u06e1\u06e2\u06e3\u06e4\u06e7\u06e8\u06ea\u06eb\u06ec\u06ed\u0897"
    "\u0898\u0899\u089a\u089b\u089c\u089d\u089e\u089f\u08ca\u08cb\u08cc\u08cd\u08ce\u08cf"
    "\u08d0\u08d1\u08d2\u08d3\u08d4\u08d5\u08d6\u08d7\u08d8\u08d9\u08da\u08db\u08dc\u08dd"
    "\u08de\u08df\u08e0\u08e1\u08e3\u08e4\u08e5\u08e6\u08e7\u08e8\u08e9\u08ea\u08eb\u08ec"
    "\u08ed\u08ee\u08ef\u08f0\u08f1\u08f2\u08f3\u08f4\u08f5\u08f6\u08f7\u08f8\u08f9\u08fa"
    "\u08fb\u08fc\u08fd\u08fe\u08ff\u0953\u0954\u1ab0\u1ab1\u1ab2\u1ab3\u1ab4\u1ab5\u1ab6"
    "\u1ab7\u1ab8\u1ab9\u1aba\u1abb\u1abc\u1abd\u1abf\u1ac0\u1ac1\u1ac2\u1ac3\u1ac4\u1ac5"
    "\u1ac6\u1ac7\u1ac8\u1ac9\u1aca\u1acb\u1acc\u1acd\u1ace\u1acf\u1ad0\u1ad1\u1ad2\u1ad3"
    "\u1ad4\u1ad5\u1ad6\u1ad7\u1ad8\u1ad9\u1ada\u1adb\u1adc\u1add\u1ade\u1adf\u1ae0\u1ae1"
    "\u1ae2\u1ae3\u1ae4\u1ae5\u1ae6\u1ae7\u1ae8\u1ae9\u1aea\u1aeb\u1aec\u1aed\u1aee\u1aef"
    "\u1af0\u1dc0\u1dc1\u1dc2\u1dc3\u1dc4\u1dc5\u1dc6\u1dc7\u1dc8\u1dc9\u1dca\u1dcb\u1dcc"
    "\u1dcd\u1dce\u1dcf\u1dd0\u1dd1\u1dd2\u1dd3\u1dd4\u1dd5\u1dd6\u1dd7\u1dd8\u1dd9\u1dda"
    "\u1ddb\u1ddc\u1ddd\u1dde\u1ddf\u1de0\u1de1\u1de2\u1de3\u1de4\u1de5\u1de6\u1de7\u1de8"
    "\u1de9\u1dea\u1deb\u1dec\u1ded\u1dee\u1def\u1df0\u1df1\u1df2\u1df3\u1df4\u1df5\u1df6"
    "\u1df7\u1df8\u1df9\u1dfb\u1dfc\u1dfd\u1dfe\u1dff\u20d0\u20d1\u20d2\u20d3\u20d4\u20d5"
    "\u20d6\u20d7\u20d8\u20d9\u20da\u20db\u20dc\u20e1\u20e5\u20e6\u20e7\u20e8\u20e9\u20ea"
    "\u20eb\u20ec\u20ed\u20ee\u20ef\u2de0\u2de1\u2de2\u2de3\u2de4\u2de5\u2de6\u2de7\u2de8"
    "\u2de9\u2dea\u2deb\u2dec\u2ded\u2dee\u2def\u2df0\u2df1\u2df2\u2df3\u2df4\u2df5\u2df6"
    "\u2df7\u2df8\u2df9\u2dfa\u2dfb\u2dfc\u2dfd\u2dfe\u2dff\ua66f\ua670\ua671\ua672\ua674"
    "\ua675\ua676\ua677\ua678\ua679\ua67a\ua67b\ua67c\ua67d\ua69e\ua69f\ufb1e\ufe20\ufe21"
    "\ufe22\ufe23\ufe24\ufe25\ufe26\ufe27\ufe28\ufe29\ufe2a\ufe2b\ufe2c\ufe2d\ufe2e\ufe2f"
    "\U000101fd\U000102e0\U00010ecb\U00010ecc\U00010ecd\U00010ece\U00010ecf\U00010ef0\U00010ef1\U00010ef2\U00010ef3\U00010ef4\U00010ef5\U00010ef6"
    "\U00010ef7\U00010ef8\U00010ef9\U00010efa\U00010efb\U00010efc\U00010efd\U00010efe\U00010eff\U0001cf00\U0001cf01\U0001cf02\U0001cf03\U0001cf04"
    "\U0001cf05\U0001cf06\U0001cf07\U0001cf08\U0001cf09\U0001cf0a\U0001cf0b\U0001cf0c\U0001cf0d\U0001cf0e\U0001cf0f\U0001cf10\U0001cf11\U0001cf12"
    "\U0001cf13\U0001cf14\U0001cf15\U0001cf16\U0001cf17\U0001cf18\U0001cf19\U0001cf1a\U0001cf1b\U0001cf1c\U0001cf1d\U0001cf1e\U0001cf1f\U0001cf20"
    "\U0001cf21\U0001cf22\U0001cf23\U0001cf24\U0001cf25\U0001cf26\U0001cf27\U0001cf28\U0001cf29\U0001cf2a\U0001cf2b\U0001cf2c\U0001cf2d\U0001cf30"
    "\U0001cf31\U0001cf32\U0001cf33\U0001cf34\U0001cf35\U0001cf36\U0001cf37\U0001cf38\U0001cf39\U0001cf3a\U0001cf3b\U0001cf3c\U0001cf3d\U0001cf3e"
    "\U0001cf3f\U0001cf40\U0001cf41\U0001cf42\U0001cf43\U0001cf44\U0001cf45\U0001cf46\U0001d127\U0001d128\U0001d167\U0001d168\U0001d169\U0001d17b"
    "\U0001d17c\U0001d17d\U0001d17e\U0001d17f\U0001d180\U0001d181\U0001d182\U0001d185\U0001d186\U0001d187\U0001d188\U0001d189\U0001d18a\U0001d18b"
    "\U0001d1aa\U0001d1ab\U0001d1ac\U0001d1ad\U0001d242\U0001d243\U0001d244\U0001d25b\U0001d25c\U0001e08f"
)
"""The combining marks of Latin, Greek, Cyrillic, Arabic and Hebrew, and those of no script that Indic scripts do not
use: the marks that readers leave out."""

LOOK_ALIKES: dict[str, str] = {
    "a": (
        "\u0251\u0391\u03b1\u0410\u0430\u13aa\u15c5\u237a\ua4ee\uff21\uff41"
        "\U000102a0\U00016f40\U0001d400\U0001d41a\U0001d434\U0001d44e\U0001d468\U0001d482\U0001d49c\U0001d4b6\U0001d4d0"
        "\U0001d4ea\U0001d504\U0001d51e\U0001d538\U0001d552\U0001d56c\U0001d586\U0001d5a0\U0001d5ba\U0001d5d4\U0001d5ee"
        "\U0001d608\U0001d622\U0001d63c\U0001d656\U0001d670\U0001d68a\U0001d6a8\U0001d6c2\U0001d6e2\U0001d6fc\U0001d71c"
        "\U0001d736\U0001d756\U0001d770\U0001d790\U0001d7aa"
    ),
    "b": (
        "\u0184\u0392\u0412\u042c\u13cf\u13f4\u1472\u15af\u15f7\u212c\ua4d0"
        "\ua7b4\uff22\U00010282\U000102a1\U00010301\U0001d401\U0001d41b\U0001d435\U0001d44f\U0001d469\U0001d483"
        "\U0001d4b7\U0001d4d1\U0001d4eb\U0001d505\U0001d51f\U0001d539\U0001d553\U0001d56d\U0001d587\U0001d5a1\U0001d5bb"
        "\U0001d5d5\U0001d5ef\U0001d609\U0001d623\U0001d63d\U0001d657\U0001d671\U0001d68b\U0001d6a9\U0001d6e3\U0001d71d"
        "\U0001d757\U0001d791"
    ),
    "c": (
        "\u03f2\u03f9\u0421\u0441\u13df\u1d04\u2102\u212d\u216d\u217d\u2ca4"
        "\u2ca5\ua4da\uabaf\uff23\uff43\U000102a2\U00010302\U00010415\U0001043d\U0001051c\U000118e9"
        "\U000118f2\U0001d402\U0001d41c\U0001d436\U0001d450\U0001d46a\U0001d484\U0001d49e\U0001d4b8\U0001d4d2\U0001d4ec"
        "\U0001d520\U0001d554\U0001d56e\U0001d588\U0001d5a2\U0001d5bc\U0001d5d6\U0001d5f0\U0001d60a\U0001d624\U0001d63e"
        "\U0001d658\U0001d672\U0001d68c\U0001f74c"
    ),
    "d": (
        "\u0501\u13a0\u13e7\u146f\u15de\u15ea\u2145\u2146\u216e\u217e\ua4d2"
        "\ua4d3\U0001d403\U0001d41d\U0001d437\U0001d451\U0001d46b\U0001d485\U0001d49f\U0001d4b9\U0001d4d3\U0001d4ed"
        "\U0001d507\U0001d521\U0001d53b\U0001d555\U0001d56f\U0001d589\U0001d5a3\U0001d5bd\U0001d5d7\U0001d5f1\U0001d60b"
        "\U0001d625\U0001d63f\U0001d659\U0001d673\U0001d68d"
    ),
    "e": (
        "\u0395\u0415\u0435\u04bd\u13ac\u212e\u212f\u2130\u2147\u22ff\u2d39"
        "\ua4f0\uab32\uff25\uff45\U00010286\U000118a6\U000118ae\U0001d404\U0001d41e\U0001d438\U0001d452"
        "\U0001d46c\U0001d486\U0001d4d4\U0001d4ee\U0001d508\U0001d522\U0001d53c\U0001d556\U0001d570\U0001d58a\U0001d5a4"
        "\U0001d5be\U0001d5d8\U0001d5f2\U0001d60c\U0001d626\U0001d640\U0001d65a\U0001d674\U0001d68e\U0001d6ac\U0001d6e6"
        "\U0001d720\U0001d75a\U0001d794"
    ),
    "f": (
        "\u017f\u03dc\u0584\u15b4\u1e9d\u2131\ua4dd\ua798\ua799\uab35\U00010287"
        "\U000102a5\U00010525\U000118a2\U000118c2\U0001d213\U0001d405\U0001d41f\U0001d439\U0001d453\U0001d46d\U0001d487"
        "\U0001d4bb\U0001d4d5\U0001d4ef\U0001d509\U0001d523\U0001d53d\U0001d557\U0001d571\U0001d58b\U0001d5a5\U0001d5bf"
        "\U0001d5d9\U0001d5f3\U0001d60d\U0001d627\U0001d641\U0001d65b\U0001d675\U0001d68f\U0001d7ca"
    ),
    "g": (
        "\u018d\u0261\u050c\u0581\u13c0\u13f3\u1d83\u210a\ua4d6\uff47\U0001d406"
        "\U0001d420\U0001d43a\U0001d454\U0001d46e\U0001d488\U0001d4a2\U0001d4d6\U0001d4f0\U0001d50a\U0001d524\U0001d53e"
        "\U0001d558\U0001d572\U0001d58c\U0001d5a6\U0001d5c0\U0001d5da\U0001d5f4\U0001d60e\U0001d628\U0001d642\U0001d65c"
        "\U0001d676\U0001d690"
    ),
    "h": (
        "\u0397\u041d\u04bb\u0570\u13bb\u13c2\u157c\u210b\u210c\u210d\u210e"
        "\u2c8e\ua4e7\uff28\uff48\U000102cf\U0001d407\U0001d421\U0001d43b\U0001d46f\U0001d489\U0001d4bd"
        "\U0001d4d7\U0001d4f1\U0001d525\U0001d559\U0001d573\U0001d58d\U0001d5a7\U0001d5c1\U0001d5db\U0001d5f5\U0001d60f"
        "\U0001d629\U0001d643\U0001d65d\U0001d677\U0001d691\U0001d6ae\U0001d6e8\U0001d722\U0001d75c\U0001d796"
    ),
    "i": (
        "\u0131\u0269\u026a\u02db\u037a\u03b9\u0456\u04cf\u13a5\u1fbe\u2139"
        "\u2148\u2170\u2373\ua647\uab75\uff49\U000118c3\U0001d422\U0001d456\U0001d48a\U0001d4be"
        "\U0001d4f2\U0001d526\U0001d55a\U0001d58e\U0001d5c2\U0001d5f6\U0001d62a\U0001d65e\U0001d692\U0001d6a4\U0001d6ca"
        "\U0001d704\U0001d73e\U0001d778\U0001d7b2"
    ),
    "j": (
        "\u037f\u03f3\u0408\u0458\u13ab\u148d\u2149\ua4d9\ua7b2\uff2a\uff4a"
        "\U0001d409\U0001d423\U0001d43d\U0001d457\U0001d471\U0001d48b\U0001d4a5\U0001d4bf\U0001d4d9\U0001d4f3\U0001d50d"
        "\U0001d527\U0001d541\U0001d55b\U0001d575\U0001d58f\U0001d5a9\U0001d5c3\U0001d5dd\U0001d5f7\U0001d611\U0001d62b"
        "\U0001d645\U0001d65f\U0001d679\U0001d693"
    ),
    "k": (
        "\u039a\u041a\u13e6\u16d5\u212a\u2c94\ua4d7\uff2b\U00010518\U0001d40a\U0001d424"
        "\U0001d43e\U0001d458\U0001d472\U0001d48c\U0001d4a6\U0001d4c0\U0001d4da\U0001d4f4\U0001d50e\U0001d528\U0001d542"
        "\U0001d55c\U0001d576\U0001d590\U0001d5aa\U0001d5c4\U0001d5de\U0001d5f8\U0001d612\U0001d62c\U0001d646\U0001d660"
        "\U0001d67a\U0001d694\U0001d6b1\U0001d6eb\U0001d725\U0001d75f\U0001d799"
    ),
    "l": (
        "\u0196\u01c0\u0399\u0406\u04c0\u06f1\u13de\u14aa\u16c1\u2110\u2111"
        "\u2112\u2113\u2160\u216c\u217c\u2223\u23fd\u2c92\u2cd0\u2d4f\ua4e1"
        "\ua4f2\uff29\uff4c\uffe8\U0001028a\U00010309\U00010320\U0001041b\U00010526\U000118a3\U000118b2"
        "\U00016f16\U00016f28\U0001d22a\U0001d408\U0001d40b\U0001d425\U0001d43c\U0001d43f\U0001d459\U0001d470\U0001d473"
        "\U0001d48d\U0001d4c1\U0001d4d8\U0001d4db\U0001d4f5\U0001d50f\U0001d529\U0001d540\U0001d543\U0001d55d\U0001d574"
        "\U0001d577\U0001d591\U0001d5a8\U0001d5ab\U0001d5c5\U0001d5dc\U0001d5df\U0001d5f9\U0001d610\U0001d613\U0001d62d"
        "\U0001d644\U0001d647\U0001d661\U0001d678\U0001d67b\U0001d695\U0001d6b0\U0001d6ea\U0001d724\U0001d75e\U0001d798"
        "\U0001d7cf\U0001d7d9\U0001d7e3\U0001d7ed\U0001d7f7\U0001fbf1"
    ),
    "m": (
        "\u039c\u03fa\u041c\u13b7\u15f0\u16d6\u2133\u216f\u2c98\ua4df\uff2d"
        "\U000102b0\U00010311\U0001d40c\U0001d440\U0001d474\U0001d4dc\U0001d510\U0001d544\U0001d578\U0001d5ac\U0001d5e0"
        "\U0001d614\U0001d648\U0001d67c\U0001d6b3\U0001d6ed\U0001d727\U0001d761\U0001d79b"
    ),
    "n": (
        "\u039d\u0578\u057c\u2115\u2c9a\ua4e0\uff2e\U00010513\U0001d40d\U0001d427\U0001d441"
        "\U0001d45b\U0001d475\U0001d48f\U0001d4a9\U0001d4c3\U0001d4dd\U0001d4f7\U0001d511\U0001d52b\U0001d55f\U0001d579"
        "\U0001d593\U0001d5ad\U0001d5c7\U0001d5e1\U0001d5fb\U0001d615\U0001d62f\U0001d649\U0001d663\U0001d67d\U0001d697"
        "\U0001d6b4\U0001d6ee\U0001d728\U0001d762\U0001d79c"
    ),
    "o": (
        "\u039f\u03bf\u03c3\u041e\u043e\u0555\u0585\u06f5\u0966\u09e6\u0a66"
        "\u0ae6\u0b20\u0b66\u0be6\u0c02\u0c66\u0c82\u0ce6\u0d02\u0d20\u0d66"
        "\u0d82\u0e50\u0ed0\u101d\u1040\u10ff\u12d0\u1d0f\u1d11\u2134\u2c9e"
        "\u2c9f\u2d54\u3007\ua4f3\uab3d\uff2f\uff4f\U00010292\U000102ab\U00010404\U0001042c"
        "\U000104c2\U000104ea\U00010516\U000114d0\U000118b5\U000118c8\U000118d7\U000118e0\U0001d40e\U0001d428\U0001d442"
        "\U0001d45c\U0001d476\U0001d490\U0001d4aa\U0001d4de\U0001d4f8\U0001d512\U0001d52c\U0001d546\U0001d560\U0001d57a"
        "\U0001d594\U0001d5ae\U0001d5c8\U0001d5e2\U0001d5fc\U0001d616\U0001d630\U0001d64a\U0001d664\U0001d67e\U0001d698"
        "\U0001d6b6\U0001d6d0\U0001d6d4\U0001d6f0\U0001d70a\U0001d70e\U0001d72a\U0001d744\U0001d748\U0001d764\U0001d77e"
        "\U0001d782\U0001d79e\U0001d7b8\U0001d7bc\U0001d7ce\U0001d7d8\U0001d7e2\U0001d7ec\U0001d7f6\U0001fbf0"
    ),
    "p": (
        "\u03a1\u03c1\u03f1\u0420\u0440\u13e2\u146d\u2119\u2374\u2ca2\u2ca3"
        "\ua4d1\uff30\uff50\U00010295\U0001d40f\U0001d429\U0001d443\U0001d45d\U0001d477\U0001d491\U0001d4ab"
        "\U0001d4c5\U0001d4df\U0001d4f9\U0001d513\U0001d52d\U0001d561\U0001d57b\U0001d595\U0001d5af\U0001d5c9\U0001d5e3"
        "\U0001d5fd\U0001d617\U0001d631\U0001d64b\U0001d665\U0001d67f\U0001d699\U0001d6b8\U0001d6d2\U0001d6e0\U0001d6f2"
        "\U0001d70c\U0001d71a\U0001d72c\U0001d746\U0001d754\U0001d766\U0001d780\U0001d78e\U0001d7a0\U0001d7ba\U0001d7c8"
    ),
    "q": (
        "\u051b\u0563\u0566\u211a\u2d55\U0001d410\U0001d42a\U0001d444\U0001d45e\U0001d478\U0001d492"
        "\U0001d4ac\U0001d4c6\U0001d4e0\U0001d4fa\U0001d514\U0001d52e\U0001d562\U0001d57c\U0001d596\U0001d5b0\U0001d5ca"
        "\U0001d5e4\U0001d5fe\U0001d618\U0001d632\U0001d64c\U0001d666\U0001d680\U0001d69a"
    ),
    "r": (
        "\u01a6\u0433\u13a1\u13d2\u1587\u1d26\u211b\u211c\u211d\u2c85\ua4e3"
        "\uab47\uab48\uab81\U000104b4\U00016f35\U0001d216\U0001d411\U0001d42b\U0001d445\U0001d45f\U0001d479"
        "\U0001d493\U0001d4c7\U0001d4e1\U0001d4fb\U0001d52f\U0001d563\U0001d57d\U0001d597\U0001d5b1\U0001d5cb\U0001d5e5"
        "\U0001d5ff\U0001d619\U0001d633\U0001d64d\U0001d667\U0001d681\U0001d69b"
    ),
    "s": (
        "\u01bd\u0405\u0455\u054f\u13d5\u13da\ua4e2\ua731\uabaa\uff33\uff53"
        "\U00010296\U00010420\U00010448\U000118c1\U00016f3a\U0001d412\U0001d42c\U0001d446\U0001d460\U0001d47a\U0001d494"
        "\U0001d4ae\U0001d4c8\U0001d4e2\U0001d4fc\U0001d516\U0001d530\U0001d54a\U0001d564\U0001d57e\U0001d598\U0001d5b2"
        "\U0001d5cc\U0001d5e6\U0001d600\U0001d61a\U0001d634\U0001d64e\U0001d668\U0001d682\U0001d69c"
    ),
    "t": (
        "\u03a4\u0422\u13a2\u22a4\u27d9\u2ca6\ua4d4\uff34\U00010297\U000102b1\U00010315"
        "\U000118bc\U00016f0a\U0001d413\U0001d42d\U0001d447\U0001d461\U0001d47b\U0001d495\U0001d4af\U0001d4c9\U0001d4e3"
        "\U0001d4fd\U0001d517\U0001d531\U0001d54b\U0001d565\U0001d57f\U0001d599\U0001d5b3\U0001d5cd\U0001d5e7\U0001d601"
        "\U0001d61b\U0001d635\U0001d64f\U0001d669\U0001d683\U0001d69d\U0001d6bb\U0001d6f5\U0001d72f\U0001d769\U0001d7a3"
        "\U0001f768"
    ),
    "u": (
        "\u028b\u03c5\u054d\u057d\u1200\u144c\u1d1c\u222a\u22c3\ua4f4\ua79f"
        "\uab4e\uab52\U000104ce\U000104f6\U000118b8\U000118d8\U00016f42\U0001d414\U0001d42e\U0001d448\U0001d462"
        "\U0001d47c\U0001d496\U0001d4b0\U0001d4ca\U0001d4e4\U0001d4fe\U0001d518\U0001d532\U0001d54c\U0001d566\U0001d580"
        "\U0001d59a\U0001d5b4\U0001d5ce\U0001d5e8\U0001d602\U0001d61c\U0001d636\U0001d650\U0001d66a\U0001d684\U0001d69e"
        "\U0001d6d6\U0001d710\U0001d74a\U0001d784\U0001d7be"
    ),
    "v": (
        "\u03bd\u0474\u0475\u06f7\u13d9\u142f\u1d20\u2164\u2174\u2228\u22c1"
        "\u2d38\ua4e6\ua6df\uaba9\uff56\U0001051d\U00011706\U000118a0\U000118c0\U00016f08\U0001d20d"
        "\U0001d415\U0001d42f\U0001d449\U0001d463\U0001d47d\U0001d497\U0001d4b1\U0001d4cb\U0001d4e5\U0001d4ff\U0001d519"
        "\U0001d533\U0001d54d\U0001d567\U0001d581\U0001d59b\U0001d5b5\U0001d5cf\U0001d5e9\U0001d603\U0001d61d\U0001d637"
        "\U0001d651\U0001d66b\U0001d685\U0001d69f\U0001d6ce\U0001d708\U0001d742\U0001d77c\U0001d7b6"
    ),
    "w": (
        "\u026f\u0461\u051c\u051d\u0561\u13b3\u13d4\u1d21\ua4ea\uab83\U0001170a"
        "\U0001170e\U0001170f\U000118e6\U000118ef\U0001d416\U0001d430\U0001d44a\U0001d464\U0001d47e\U0001d498\U0001d4b2"
        "\U0001d4cc\U0001d4e6\U0001d500\U0001d51a\U0001d534\U0001d54e\U0001d568\U0001d582\U0001d59c\U0001d5b6\U0001d5d0"
        "\U0001d5ea\U0001d604\U0001d61e\U0001d638\U0001d652\U0001d66c\U0001d686\U0001d6a0"
    ),
    "x": (
        "\u00d7\u03a7\u0425\u0445\u1541\u157d\u166d\u166e\u16b7\u2169\u2179"
        "\u2573\u292b\u292c\u2a2f\u2cac\u2d5d\ua4eb\ua7b3\uff38\uff58\U00010290"
        "\U000102b4\U00010317\U00010322\U00010527\U000118ec\U0001d417\U0001d431\U0001d44b\U0001d465\U0001d47f\U0001d499"
        "\U0001d4b3\U0001d4cd\U0001d4e7\U0001d501\U0001d51b\U0001d535\U0001d54f\U0001d569\U0001d583\U0001d59d\U0001d5b7"
        "\U0001d5d1\U0001d5eb\U0001d605\U0001d61f\U0001d639\U0001d653\U0001d66d\U0001d687\U0001d6a1\U0001d6be\U0001d6f8"
        "\U0001d732\U0001d76c\U0001d7a6"
    ),
    "y": (
        "\u0263\u028f\u03a5\u03b3\u03d2\u0423\u0443\u04ae\u04af\u10e7\u13a9"
        "\u13bd\u1d8c\u1eff\u213d\u2ca8\ua4ec\uab5a\uff39\uff59\U000102b2\U000118a4"
        "\U000118dc\U00016f43\U0001d418\U0001d432\U0001d44c\U0001d466\U0001d480\U0001d49a\U0001d4b4\U0001d4ce\U0001d4e8"
        "\U0001d502\U0001d51c\U0001d536\U0001d550\U0001d56a\U0001d584\U0001d59e\U0001d5b8\U0001d5d2\U0001d5ec\U0001d606"
        "\U0001d620\U0001d63a\U0001d654\U0001d66e\U0001d688\U0001d6a2\U0001d6bc\U0001d6c4\U0001d6f6\U0001d6fe\U0001d730"
        "\U0001d738\U0001d76a\U0001d772\U0001d7a4\U0001d7ac"
    ),
    "z": (
        "\u0396\u13c3\u1d22\u2124\u2128\ua4dc\uab93\uff3a\U000102f5\U000118a9\U000118c4"
        "\U000118e5\U0001d419\U0001d433\U0001d44d\U0001d467\U0001d481\U0001d49b\U0001d4b5\U0001d4cf\U0001d4e9\U0001d503"
        "\U0001d537\U0001d56b\U0001d585\U0001d59f\U0001d5b9\U0001d5d3\U0001d5ed\U0001d607\U0001d621\U0001d63b\U0001d655"
        "\U0001d66f\U0001d689\U0001d6a3\U0001d6ad\U0001d6e7\U0001d721\U0001d75b\U0001d795"
    ),
    "2": ("\u01a7\u03e8\u14bf\ua644\ua6ef\ua75a\U0001d7d0\U0001d7da\U0001d7e4\U0001d7ee\U0001d7f8\U0001fbf2"),
    "3": (
        "\u01b7\u021c\u0417\u04e0\u2ccc\ua76a\ua7ab\U000118ca\U00016f3b\U0001d206\U0001d7d1"
        "\U0001d7db\U0001d7e5\U0001d7ef\U0001d7f9\U0001fbf3"
    ),
    "4": ("\u13ce\U000118af\U0001d7d2\U0001d7dc\U0001d7e6\U0001d7f0\U0001d7fa\U0001fbf4"),
    "5": ("\u01bc\U000118bb\U0001d7d3\U0001d7dd\U0001d7e7\U0001d7f1\U0001d7fb\U0001fbf5"),
    "6": ("\u0431\u13ee\u2cd2\U000118d5\U0001d7d4\U0001d7de\U0001d7e8\U0001d7f2\U0001d7fc\U0001fbf6"),
    "7": ("\U000104d2\U000118c6\U0001d212\U0001d7d5\U0001d7df\U0001d7e9\U0001d7f3\U0001d7fd\U0001fbf7"),
    "8": ("\u0222\u0223\u09ea\u0a6a\u0b03\U0001031a\U0001d7d6\U0001d7e0\U0001d7ea\U0001d7f4\U0001d7fe\U0001fbf8"),
    "9": (
        "\u09ed\u0a67\u0b68\u0d6d\u2cca\ua76e\U000118ac\U000118cc\U000118d6\U0001d7d7\U0001d7e1"
        "\U0001d7eb\U0001d7f5\U0001d7ff\U0001fbf9"
    ),
}
"""Of each letter or digit of ASCII the characters that look like it (UTS #39)."""


def ranges_of(name: str) -> tuple[tuple[int, int], ...]:
    """The code points of a script or property, both ends included; empty if there is none of that name."""
    pairs = (each.partition("-") for each in RANGES.get(name, "").split())
    return tuple((int(first, 16), int(last or first, 16)) for first, _, last in pairs)
