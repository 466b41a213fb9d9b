//! Published answers of every primitive, and the library's frozen bytes, on the device.
#![no_std]
#![no_main]

use core::fmt::Write;

use aes::Aes256;
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit};
use cardvault::Secret;
use cardvault::card::{Brand, Pan, TruncationFormat, luhn};
use cardvault::ff1::Ff1;
use cardvault::fingerprint::Fingerprinter;
use cardvault::keys::{Component, Domain, Kek, KeyRing};
use cardvault::seal::{Binding, Opener, open_ring_with_kek_into, sealed_key_id};
use cardvault_firmware::machine::{self, Console};
use cmac::{Cmac, Mac};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use xaes_256_gcm::Xaes256Gcm;

#[path = "../../../../src/bin/cardvault/demo/published.rs"]
mod published;

use published::{FAIL_LUHN, PUBLISHED};

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    let groups: [(&str, fn() -> u32); 8] = [
        ("luhn, brand and masks", cards),
        ("sha-256", sha256),
        ("hkdf", hkdf),
        ("cmac", cmac),
        ("aes-gcm", aes_gcm),
        ("xaes", xaes),
        ("ff1", ff1),
        ("frozen bytes", frozen),
    ];
    let mut total = 0;
    for (name, answers) in groups {
        let count = answers();
        writeln!(Console, "{name}: {count} answers").unwrap();
        total += count;
    }
    writeln!(Console, "{total} known answers on the device").unwrap();
    machine::exit(0)
}

/// The bytes of a text in hexadecimal, of which `out` takes the first.
fn hex<'a>(text: &str, out: &'a mut [u8]) -> &'a [u8] {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut digits = lines
        .flat_map(str::chars)
        .map_while(|digit| digit.to_digit(16));
    let mut len = 0;
    while let (Some(high), Some(low)) = (digits.next(), digits.next()) {
        out[len] = (16 * high + low) as u8;
        len += 1;
    }
    &out[..len]
}

/// Exactly `N` bytes.
fn bytes<const N: usize>(text: &str) -> [u8; N] {
    let mut out = [0; N];
    assert_eq!(hex(text, &mut out).len(), N);
    out
}

fn cards() -> u32 {
    let mut count = 0;
    for (_, numbers) in PUBLISHED {
        for number in *numbers {
            assert!(luhn::passes(number.as_bytes()), "{number}");
            count += 1;
        }
    }
    for number in FAIL_LUHN {
        assert!(!luhn::passes(number.as_bytes()), "{number}");
        count += 1;
    }
    let masks = [
        ("4111111111111111", "411111******1111", Brand::Visa),
        ("378282246310005", "378282*****0005", Brand::AmericanExpress),
        ("5555555555554444", "555555******4444", Brand::Mastercard),
        (
            "6205500000000000004",
            "620550*********0004",
            Brand::UnionPay,
        ),
        ("3530111333300000", "353011******0000", Brand::Jcb),
    ];
    for (number, mask, brand) in masks {
        let pan = Pan::parse(number.as_bytes()).unwrap();
        assert_eq!(pan.mask().as_str(), mask);
        assert_eq!(pan.brand(), brand);
        count += 2;
    }
    let pan = Pan::parse(b"4111 1111 1111 1111").unwrap();
    let stored = pan.truncate(TruncationFormat::FIRST_8_LAST_4).unwrap();
    assert_eq!(stored.as_str(), "41111111****1111");
    count + 1
}

/// FIPS 180-4, of the examples.
fn sha256() -> u32 {
    let expected = bytes::<32>("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(Sha256::digest(b"abc")[..], expected);
    1
}

/// RFC 5869, appendix A.1 and A.3.
fn hkdf() -> u32 {
    let salt = bytes::<13>("000102030405060708090a0b0c");
    let info = bytes::<10>("f0f1f2f3f4f5f6f7f8f9");
    let answers = [
        (
            Some(&salt[..]),
            &info[..],
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            None,
            &[],
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ];
    for (salt, info, expected) in answers {
        let mut okm = [0; 42];
        let hkdf = Hkdf::<Sha256>::new(salt, &[0x0b; 22]);
        hkdf.expand(info, &mut okm).unwrap();
        assert_eq!(okm, bytes::<42>(expected));
    }
    2
}

/// SP 800-38B, examples for AES-256.
fn cmac() -> u32 {
    let key = bytes::<32>("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
    let message = bytes::<40>(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411",
    );
    let answers = [
        (0, "028962f61b7bf89efc6b551f4667d983"),
        (16, "28a7023f452e8f82bd4bf28d8c37c35c"),
        (40, "aaf3d8f1de5640c232f5b169b9c911e6"),
    ];
    for (len, expected) in answers {
        let mut cmac = <Cmac<Aes256> as KeyInit>::new(&key.into());
        cmac.update(&message[..len]);
        assert_eq!(cmac.finalize().into_bytes()[..], bytes::<16>(expected));
    }
    3
}

/// Test cases 14 and 16 of the GCM specification.
fn aes_gcm() -> u32 {
    let cipher = Aes256Gcm::new(&[0; 32].into());
    let mut text = [0; 16];
    let tag = cipher
        .encrypt_inout_detached(&[0; 12].into(), &[], (&mut text[..]).into())
        .unwrap();
    assert_eq!(text, bytes::<16>("cea7403d4d606b6e074ec5d3baf39d18"));
    assert_eq!(tag[..], bytes::<16>("d0d1c8a799996bf0265b98b5d48ab919"));

    let key = bytes::<32>("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
    let nonce = bytes::<12>("cafebabefacedbaddecaf888");
    let aad = bytes::<20>("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let plain = bytes::<60>(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
         1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
    );
    let sealed = bytes::<60>(
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
         8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
    );
    let cipher = Aes256Gcm::new(&key.into());
    let mut text = plain;
    let tag = cipher
        .encrypt_inout_detached(&nonce.into(), &aad, (&mut text[..]).into())
        .unwrap();
    assert_eq!(text, sealed);
    assert_eq!(tag[..], bytes::<16>("76fc6ece0f4e1768cddf8853bb2d551b"));
    cipher
        .decrypt_inout_detached(&nonce.into(), &aad, (&mut text[..]).into(), &tag)
        .unwrap();
    assert_eq!(text, plain);
    3
}

/// The two vectors of the C2SP specification.
fn xaes() -> u32 {
    let answers: [(u8, &[u8], &str); 2] = [
        (
            1,
            b"",
            "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271",
        ),
        (
            3,
            b"c2sp.org/XAES-256-GCM",
            "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
        ),
    ];
    for (key, aad, expected) in answers {
        let cipher = Xaes256Gcm::new(&[key; 32].into());
        let mut text = *b"XAES-256-GCM";
        let tag = cipher
            .encrypt_inout_detached(
                b"ABCDEFGHIJKLMNOPQRSTUVWX".into(),
                aad,
                (&mut text[..]).into(),
            )
            .unwrap();
        let expected = bytes::<28>(expected);
        assert_eq!((&text[..], &tag[..]), (&expected[..12], &expected[12..]));
    }
    2
}

/// NIST's decimal samples with a key of 256 bits (SP 800-38G).
fn ff1() -> u32 {
    let key = bytes::<32>("2b7e151628aed2a6abf7158809cf4f3cef4359d8d580aa4f7f036d6f04fc6a94");
    let ff1 = Ff1::new(&Secret::new(key));
    let plain = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    let answers = [
        (&b""[..], [6, 6, 5, 7, 6, 6, 7, 0, 0, 9]),
        (&b"9876543210"[..], [1, 0, 0, 1, 6, 2, 3, 4, 6, 3]),
    ];
    for (tweak, expected) in answers {
        let mut digits = plain;
        ff1.encrypt(tweak, &mut digits).unwrap();
        assert_eq!(digits, expected);
        ff1.decrypt(tweak, &mut digits).unwrap();
        assert_eq!(digits, plain);
    }
    4
}

/// The host's golden files: a ring under a KEK, a record that it sealed, a fingerprint.
fn frozen() -> u32 {
    let components: [&[u8]; 2] = [
        b"0001 0203 0405 0607 0809 0A0B 0C0D 0E0F 1011 1213 1415 1617 1819 1A1B 1C1D 1E1F / 377822",
        b"8087 8E95 9CA3 AAB1 B8BF C6CD D4DB E2E9 F0F7 FE05 0C13 1A21 282F 363D 444B 5259 / 957740",
    ];
    let components = components.map(|text| Component::parse(text).unwrap());
    let kek = Kek::combine(&components, Some("BA5032".parse().unwrap())).unwrap();
    let mut buffer = [0; 2048];
    let len = hex(include_str!("../../../golden/ring-kek.hex"), &mut buffer).len();
    let mut ring = KeyRing::blank();
    open_ring_with_kek_into(&mut buffer[..len], &kek, &mut ring).unwrap();
    let domain = Domain::new(b"merchant-7").unwrap();
    let mut buffer = [0; 128];
    let sealed = hex(
        include_str!("../../../golden/sealed-record.hex"),
        &mut buffer,
    );
    let id = sealed_key_id(sealed).unwrap();
    let opener = Opener::new(&ring.card_key_for(&domain, &id).unwrap());
    let binding = Binding {
        token: b"tok_0123456789",
        fingerprint: &[0x5a; 32],
        columns: b"visa 1111",
    };
    let record = opener.open(sealed, &binding).unwrap();
    assert!(record.pan.expose(|digits| digits == "4111111111111111"));
    let mut buffer = [0; 64];
    let expected = hex(include_str!("../../../golden/fingerprint.hex"), &mut buffer);
    let fingerprinter = Fingerprinter::new(&ring.fingerprint_key(&domain, 1).unwrap());
    let found = fingerprinter.fingerprint(&record.pan);
    assert_eq!(found.as_bytes()[..], *expected);
    3
}
