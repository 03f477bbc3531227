"""Pure: the country of a phone number by its calling code, as Meta's markets go."""

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

# Of the countries of +1: their area codes. All others are those of the United States.
AREA_CODES = """
CA 204 226 236 249 250 257 263 273 289 306 343 354 365 367 368 382 403 416 418 428 431 437 438 450
CA 468 474 506 514 519 548 579 581 584 587 600 604 613 622 633 639 647 672 683 705 709 742 753 778
CA 780 782 807 819 825 867 873 879 902 905 942
AG 268
AI 264
AS 684
BB 246
BM 441
BS 242
DM 767
DO 809 829 849
GD 473
GU 671
JM 658 876
KN 869
KY 345
LC 758
MP 670
MS 664
PR 787 939
SX 721
TC 649
TT 868
VC 784
VG 284
VI 340
"""


def _prefixes() -> dict[str, str]:
    """{beginning of a number: country}; of a calling code that several share, the main one."""
    found = {str(code): regions[0] for code, regions in COUNTRY_CODE_TO_REGION_CODE.items()}
    for line in AREA_CODES.strip().splitlines():
        country, *codes = line.split()
        found |= {f'1{code}': country for code in codes}
    found |= {'76': 'KZ', '77': 'KZ'}
    return {prefix: country for prefix, country in found.items() if country != '001'}


COUNTRIES = _prefixes()


def country_of(number: str | None) -> str | None:
    """The country (ISO 3166, two letters) of a number in digits, with or without +; else None.

    Takes less than a microsecond: it is asked for every message.
    """
    if not number:
        return None
    if number[0] == '+':
        number = number[1:]
    return (
        COUNTRIES.get(number[:4])
        or COUNTRIES.get(number[:2])
        or COUNTRIES.get(number[:3])
        or COUNTRIES.get(number[:1])
    )
