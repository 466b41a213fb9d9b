//! Card numbers that networks and processors publish for tests. No real card has one of them.
#![forbid(unsafe_code)]

use cardvault::card::Brand;

/// Numbers that pass the Luhn check, by the brand they are published for.
pub(super) const PUBLISHED: &[(Brand, &[&str])] = &[
    (
        Brand::Visa,
        &[
            "4111111111111111",
            "4242424242424242",
            "4012888888881881",
            "4000056655665556",
            "4222222222222",
            "4007000000027",
            "4005519200000004",
            "4009348888881881",
            "4012000033330026",
            "4508750015741019",
        ],
    ),
    (
        Brand::Mastercard,
        &[
            "5555555555554444",
            "5105105105105100",
            "5200828282828210",
            "2223003122003222",
            "2223000048400011",
            "2223000000000007",
            "5123450000000008",
            "5111111111111118",
            "5424000000000015",
            "2720170000000006",
        ],
    ),
    (
        Brand::AmericanExpress,
        &[
            "378282246310005",
            "371449635398431",
            "378734493671000",
            "370000000000002",
            "371881634498004",
        ],
    ),
    (
        Brand::Discover,
        &[
            "6011111111111117",
            "6011000990139424",
            "6011000991300009",
            "6011003179988686",
            "6011963280099774",
        ],
    ),
    (
        Brand::DinersClub,
        &[
            "30569309025904",
            "38520000023237",
            "36227206271667",
            "36259600000004",
            "30123400000000",
            "3056930009020004",
        ],
    ),
    (
        Brand::Jcb,
        &[
            "3530111333300000",
            "3566002020360505",
            "3528000000000007",
            "3528111100000001",
            "3569990010030400",
        ],
    ),
    (
        Brand::UnionPay,
        &[
            "6200000000000005",
            "6205500000000000004",
            "6243030000000001",
            "6221261111117766",
            "6223164991230014",
            "6250947000000014",
            "6201089999995464",
            "6214239999999611",
            "6240008631401148",
        ],
    ),
    (
        Brand::Maestro,
        &[
            "6759649826438453",
            "6304000000000000",
            "5000000000000000005",
            "5666555544443333",
            "6799990100000000019",
        ],
    ),
    (Brand::Dankort, &["5019717010103742"]),
    (Brand::Elo, &["5066991111111118", "6362970000457013"]),
    (Brand::Hiper, &["6370950000000005"]),
    (Brand::Hipercard, &["6062820524845321", "6062828888666688"]),
    (Brand::Mir, &["2200000000000004", "2202474301322987"]),
    (Brand::Troy, &["9792030394440796"]),
    (
        Brand::RuPay,
        &["6082015309577308", "6074825972083818", "6074828163369590"],
    ),
    (
        Brand::Verve,
        &[
            "5060666666666666666",
            "507850785078507812",
            "5061830100001895",
            "5060990580000217499",
        ],
    ),
    (Brand::Uatp, &["135492354874528", "135420001569134"]),
    (Brand::EnRoute, &["201400000000009"]),
];

/// Published although they fail the Luhn check.
pub(super) const FAIL_LUHN: &[&str] = &["76009244561", "8736469999990336", "2205459999997832"];

/// A published UnionPay number with another last digit: the network has cards that fail Luhn.
pub(super) const UNIONPAY_FAILS_LUHN: &str = "6200000000000006";

/// The card that most steps show.
pub(super) const SHOWN: &str = "4508750015741019";

/// One card as machines hand it over.
pub(super) const SPACED: &str = "4508 7500 1574 1019";
pub(super) const DASHED: &str = "4508-7500-1574-1019";
pub(super) const TRACK_1: &str = "%B4508750015741019^DOE/JANE^30121011234567890123?";
pub(super) const TRACK_2: &str = ";4508750015741019=30121011234567890?";
pub(super) const TAG_57: [u8; 19] = [
    0x45, 0x08, 0x75, 0x00, 0x15, 0x74, 0x10, 0x19, 0xd3, 0x01, 0x21, 0x01, 0x12, 0x34, 0x56, 0x78,
    0x90, 0x12, 0x3f,
];
pub(super) const TAG_5A: [u8; 8] = [0x45, 0x08, 0x75, 0x00, 0x15, 0x74, 0x10, 0x19];

/// Every number above: what the files are searched for.
pub(super) fn every_number() -> impl Iterator<Item = &'static str> {
    PUBLISHED
        .iter()
        .flat_map(|(_, numbers)| numbers.iter())
        .chain(FAIL_LUHN)
        .copied()
        .chain([UNIONPAY_FAILS_LUHN])
}
