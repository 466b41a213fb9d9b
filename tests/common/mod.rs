//! Published test cards, shared by the integration tests.
#![allow(dead_code, reason = "each test uses its part")]

use cardvault::card::{Brand, Pan};

/// Public test numbers of networks and acquirers that pass the Luhn check.
///
/// Two numbers that Verve publishes (5060 66.. and 5078 50..) lie outside the ranges that it
/// made public; they stand with the brand of the wider range.
pub(crate) const CARDS: [(Brand, &[&str]); 19] = [
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
            "5060666666666666666",
            "507850785078507812",
        ],
    ),
    (Brand::Dankort, &["5019717010103742"]),
    (Brand::Elo, &["5066991111111118", "6362970000457013"]),
    (Brand::Hiper, &["6370950000000005"]),
    (Brand::Hipercard, &["6062820524845321"]),
    (Brand::Mir, &["2200000000000004", "2202474301322987"]),
    (Brand::Troy, &["9792030394440796"]),
    (
        Brand::RuPay,
        &["6082015309577308", "6074825972083818", "6074828163369590"],
    ),
    (Brand::Verve, &["5061830100001895", "5060990580000217499"]),
    (Brand::Uatp, &["135492354874528", "135420001569134"]),
    (Brand::EnRoute, &["201400000000009"]),
    (Brand::Hipercard, &["6062828888666688"]),
];

/// Numbers that are published as test cards and fail the Luhn check.
pub(crate) const FAIL_LUHN: [(Brand, &str); 3] = [
    (Brand::Unknown, "76009244561"),
    (Brand::Unknown, "8736469999990336"),
    (Brand::PayPak, "2205459999997832"),
];

/// Every card above that passes.
pub(crate) fn passing() -> impl Iterator<Item = (Brand, &'static str)> {
    CARDS
        .into_iter()
        .flat_map(|(brand, numbers)| numbers.iter().map(move |number| (brand, *number)))
}

/// The number as a [`Pan`], whatever the Luhn check says of the exempt brands.
pub(crate) fn pan(digits: &str) -> Pan {
    Pan::parse_exempting(digits.as_bytes(), &Brand::LUHN_EXEMPT).unwrap()
}

/// The Luhn check as a clerk would do it.
pub(crate) fn luhn_model(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, byte)| {
            let digit = u32::from(byte - b'0') * if place % 2 == 1 { 2 } else { 1 };
            digit / 10 + digit % 10
        })
        .sum();
    sum.is_multiple_of(10)
}

/// `body` with the check digit behind it, by trying all ten.
pub(crate) fn with_check_digit(body: &str) -> String {
    ('0'..='9')
        .map(|check| format!("{body}{check}"))
        .find(|number| luhn_model(number))
        .unwrap()
}
