//! IPNS records and names: made, read, and refused.

#[path = "../hostile/ipns.rs"]
mod hostile;

use std::time::{Duration, SystemTime};

use ipfs_routing::{
    MAX_VALUE, Validator,
    ipns::{Ipns, Name, Record},
};
use ipfs_traits::{Error, protobuf};
use libp2p_identity::Keypair;
use proptest::prelude::*;

use crate::numbers::Numbers;

/// 2026-01-01, when the records of the fixtures are valid that are to be.
pub(crate) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

const HOUR: Duration = Duration::from_secs(3600);

/// One key of each type. That of RSA was made for this test, and names nobody.
fn keys() -> [Keypair; 4] {
    let mut rsa = include_bytes!("../fixtures/ipns/rsa/2048.pk8").to_vec();
    [
        Keypair::generate_ed25519(),
        Keypair::generate_secp256k1(),
        Keypair::generate_ecdsa(),
        Keypair::rsa_from_pkcs8(&mut rsa).unwrap(),
    ]
}

fn name(key: &Keypair) -> Name {
    Name::from(&key.public())
}

fn signed(key: &Keypair, v1: bool) -> Record {
    Record::sign(key, "/ipfs/bafkqaaa", 7, now() + HOUR, 2 * HOUR, v1).unwrap()
}

/// The fields of a record, for changing them.
fn fields(record: &Record) -> Vec<(u32, Field)> {
    protobuf::Fields::new(record.as_bytes(), "test")
        .map(|field| match field.unwrap() {
            (number, protobuf::Value::Bytes(bytes)) => (number, Field::Bytes(bytes.to_vec())),
            (number, value) => (number, Field::Number(value.varint("test").unwrap())),
        })
        .collect()
}

#[derive(Clone, Debug)]
enum Field {
    Bytes(Vec<u8>),
    Number(u64),
}

fn record(fields: &[(u32, Field)]) -> Result<Record, Error> {
    let mut out = Vec::new();
    for (number, field) in fields {
        match field {
            Field::Bytes(bytes) => protobuf::write_bytes(*number, bytes, &mut out),
            Field::Number(value) => protobuf::write_varint(*number, *value, &mut out),
        }
    }
    Record::parse(out)
}

/// A record in which one field is replaced.
fn with(record_of: &Record, number: u32, field: Field) -> Result<Record, Error> {
    let mut all = fields(record_of);
    all.retain(|(other, _)| *other != number);
    all.push((number, field));
    record(&all)
}

fn without(record_of: &Record, gone: u32) -> Result<Record, Error> {
    let mut all = fields(record_of);
    all.retain(|(number, _)| *number != gone);
    record(&all)
}

fn refused(outcome: Result<(), Error>, why: &str) {
    assert!(
        matches!(&outcome, Err(Error::Invalid { reason, .. }) if reason.contains(why)),
        "expected {why:?}, found {outcome:?}"
    );
}

#[test]
fn what_is_signed_is_read_and_verified_for_each_type_of_key() {
    for (key, v1) in keys().iter().flat_map(|key| [(key, true), (key, false)]) {
        let record = signed(key, v1);
        let again = Record::parse(record.as_bytes().clone()).unwrap();
        assert_eq!(again, record);
        again.verify(&name(key), now()).unwrap();
        let found = (again.value(), again.sequence(), again.validity(), again.ttl());
        assert_eq!(found, (&b"/ipfs/bafkqaaa"[..], 7, now() + HOUR, 2 * HOUR));
        let inline = name(key).public_key();
        assert_eq!(again.public_key().or(inline), Some(key.public()));
        Ipns.validate(&name(key).routing_key(), record.as_bytes(), now()).unwrap();
    }
}

/// Both signatures are there and fit: what software of before 2022 looks at is the first one.
#[test]
fn the_old_signature_fits_too() {
    for key in keys() {
        let all = fields(&signed(&key, true));
        let bytes = |number| match all.iter().find(|(other, _)| *other == number) {
            Some((_, Field::Bytes(bytes))) => bytes.clone(),
            other => panic!("{other:?}"),
        };
        let message = [bytes(1), bytes(4), b"EOL".to_vec()].concat();
        assert!(key.public().verify(&message, &bytes(2)));
    }
}

#[test]
fn a_record_counts_for_its_name_alone_and_until_it_ends() {
    for key in keys() {
        let record = signed(&key, true);
        let other = name(&Keypair::generate_ed25519());
        assert!(record.verify(&other, now()).is_err());
        record.verify(&name(&key), now() + HOUR).unwrap();
        refused(record.verify(&name(&key), now() + HOUR + Duration::from_nanos(1)), "expired");
    }
}

/// Whoever takes a record for its first signature takes anybody's: it leaves out the sequence.
#[test]
fn a_record_with_the_old_signature_alone_is_none() {
    let record = signed(&Keypair::generate_ed25519(), true);
    for gone in [8, 9] {
        assert!(matches!(without(&record, gone), Err(Error::Malformed { .. })));
    }
}

/// A name in which the key does not fit needs it in the record; one in which it does, and a record
/// with another key, do not go together.
#[test]
fn the_key_in_a_record_must_be_that_of_the_name() {
    let [ed25519, _, ecdsa, rsa] = keys();
    for key in [&ecdsa, &rsa] {
        let record = signed(key, false);
        refused(without(&record, 7).unwrap().verify(&name(key), now()), "lacks");
        let stranger = signed(&ed25519, false);
        let stranger = with(&stranger, 7, Field::Bytes(ed25519.public().encode_protobuf()));
        refused(stranger.unwrap().verify(&name(key), now()), "another name");
        let nonsense = with(&record, 7, Field::Bytes(b"nonsense".to_vec())).unwrap();
        assert!(matches!(nonsense.verify(&name(key), now()), Err(Error::Malformed { .. })));
    }
    let record = signed(&ed25519, true);
    let own = with(&record, 7, Field::Bytes(ed25519.public().encode_protobuf())).unwrap();
    own.verify(&name(&ed25519), now()).unwrap();
}

/// What is not signed must not say otherwise than what is: software that reads the one and verifies
/// the other would be led anywhere.
#[test]
fn fields_of_the_first_version_must_say_what_is_signed() {
    let key = Keypair::generate_ed25519();
    let record = signed(&key, true);
    for (number, field) in [
        (1, Field::Bytes(b"/ipfs/elsewhere".to_vec())),
        (3, Field::Number(1)),
        (4, Field::Bytes(b"2099-01-01T00:00:00Z".to_vec())),
        (5, Field::Number(8)),
        (6, Field::Number(1)),
    ] {
        let other = with(&record, number, field).unwrap();
        refused(other.verify(&name(&key), now()), "not those that are signed");
        refused(
            without(&other, 2).unwrap().verify(&name(&key), now()),
            "not those that are signed",
        );
    }
    let value_alone = with(&signed(&key, false), 1, Field::Bytes(b"/ipfs/bafkqaaa".to_vec()));
    refused(value_alone.unwrap().verify(&name(&key), now()), "not those that are signed");
}

/// CVE-2023-39533: to verify with a key of RSA takes long when the key is long enough. These two
/// records are signed rightly, with keys of 1,024 and of 8,448 bits.
#[test]
fn keys_of_rsa_are_neither_too_short_nor_too_long() {
    for bytes in [
        &include_bytes!("../fixtures/ipns/rsa/1024.ipns-record")[..],
        &include_bytes!("../fixtures/ipns/rsa/8448.ipns-record")[..],
    ] {
        let record = Record::parse(bytes).unwrap();
        let name = Name::from(&record.public_key().unwrap());
        refused(record.verify(&name, now()), "signature");
    }
    let record =
        Record::parse(&include_bytes!("../fixtures/ipns/rsa/2048.ipns-record")[..]).unwrap();
    let name = Name::from(&record.public_key().unwrap());
    record.verify(&name, now()).unwrap();
}

#[test]
fn more_than_ten_kibibytes_are_not_looked_at() {
    let key = Keypair::generate_ed25519();
    let record = signed(&key, true);
    let room = MAX_VALUE - record.as_bytes().len() - protobuf::bytes_len(15, 9000) + 9000;
    let full = with(&record, 15, Field::Bytes(vec![0; room])).unwrap();
    assert_eq!(full.as_bytes().len(), MAX_VALUE);
    full.verify(&name(&key), now()).unwrap();
    let beyond = with(&record, 15, Field::Bytes(vec![0; room + 1]));
    assert!(matches!(beyond, Err(Error::Limit { actual: 10_241, .. })), "{beyond:?}");
    let long = Record::sign(&key, vec![b'x'; MAX_VALUE], 0, now(), HOUR, false);
    assert!(matches!(long, Err(Error::Limit { .. })));
}

#[test]
fn the_better_record_is_the_same_one_everywhere() {
    let key = Keypair::generate_ed25519();
    let record = |sequence, hours, value: &str| {
        Record::sign(&key, value, sequence, now() + hours * HOUR, HOUR, true).unwrap()
    };
    let ascending = [
        record(1, 9, "/ipfs/z"),
        record(2, 1, "/ipfs/a"),
        record(2, 2, "/ipfs/a"),
        record(3, 1, ""),
    ];
    for (i, one) in ascending.iter().enumerate() {
        for (j, other) in ascending.iter().enumerate() {
            assert_eq!(one.is_better_than(other), i > j, "{i} {j}");
            assert_eq!(Ipns.is_better(b"", one.as_bytes(), other.as_bytes()), i > j);
        }
    }
    let [a, b] = ["/ipfs/a", "/ipfs/b"].map(|value| record(1, 1, value));
    assert_ne!(a.is_better_than(&b), b.is_better_than(&a));
    assert_eq!(a.is_better_than(&b), a.as_bytes() > b.as_bytes());
    assert!(!Ipns.is_better(b"", b"nonsense", a.as_bytes()));
}

#[test]
fn times_and_ttls_are_bounded() {
    let key = Keypair::generate_ed25519();
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    let last = Record::sign(&key, "", 0, end, Duration::MAX, true).unwrap();
    assert_eq!(last.validity(), end);
    assert_eq!(last.ttl(), Duration::from_nanos(i64::MAX as u64));
    let beyond = Record::sign(&key, "", 0, end + HOUR, HOUR, true);
    assert!(matches!(beyond, Err(Error::Invalid { .. })));
}

#[test]
fn names_are_read_in_every_base_and_nothing_else_is() {
    let name: Name = "12D3KooWSzRuSFHgLsKr6jJboAPdP7xMga2YBgBspYuErxswcgvt".parse().unwrap();
    for base in [multibase::Base::Base2, multibase::Base::Base32Upper, multibase::Base::Base58Btc] {
        let text = multibase::encode(base, name.cid().to_bytes());
        assert_eq!(text.parse::<Name>().unwrap(), name, "{text}");
    }
    assert_eq!(Name::from_routing_key(&name.routing_key()).unwrap(), name);
    for bad in [
        "",
        "/ipns/",
        "example.com",
        "bafkqaaa",
        "bafybeihfg3d7rdltd43u3tfvncx7n5loqofbsobojcadtmokrljfthuc7y",
        "Qm",
        "QmPZ9gcCEpqKTo6aq61g2nXGUhM4iCL3ewB6LDXZCtioE",
        "1",
        "12D3KooW",
        "/ipfs/12D3KooWSzRuSFHgLsKr6jJboAPdP7xMga2YBgBspYuErxswcgvt",
        "k51qzi5uqu5dmjjgoe7s21dncepi970722cn30qlhm9qridas1c9ktkjb6ejux/",
    ] {
        assert!(matches!(bad.parse::<Name>(), Err(Error::Invalid { .. })), "{bad}");
    }
    let long = "k".repeat(100_000);
    assert!(matches!(long.parse::<Name>(), Err(Error::Limit { .. })));
    for bad in [&b"/ipns/"[..], b"/pk/x", b"", b"/ipns/12D3KooW"] {
        assert!(matches!(Name::from_routing_key(bad), Err(Error::Invalid { .. })));
    }
}

/// Each byte of a record, changed: it is refused, or says the same.
#[test]
fn a_changed_byte_never_makes_another_record() {
    for key in keys() {
        let record = signed(&key, true);
        for at in 0..record.as_bytes().len() {
            for change in [0x01, 0x80] {
                let mut bytes = record.as_bytes().to_vec();
                bytes[at] ^= change;
                same_or_refused(&record, bytes, &name(&key));
            }
        }
    }
}

fn same_or_refused(record: &Record, bytes: Vec<u8>, name: &Name) {
    let Ok(other) = Record::parse(bytes) else { return };
    if other.verify(name, now()).is_ok() {
        let fields = |record: &Record| {
            (record.value().to_vec(), record.sequence(), record.validity(), record.ttl())
        };
        assert_eq!(fields(&other), fields(record));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        hostile::ipns(&bytes);
    }

    #[test]
    fn a_damaged_record_is_read_or_refused(seed in any::<u64>(), cuts in 1..8_u64) {
        let (mut numbers, key) = (Numbers(seed), Keypair::generate_ed25519());
        let good = signed(&key, seed % 2 == 0);
        let mut bytes = good.as_bytes().to_vec();
        for _ in 0..cuts {
            let at = numbers.below(bytes.len() as u64) as usize;
            match numbers.below(3) {
                0 => bytes[at] = numbers.next() as u8,
                1 => bytes.insert(at, numbers.next() as u8),
                _ => drop(bytes.remove(at)),
            }
        }
        hostile::ipns(&bytes);
        same_or_refused(&good, bytes, &name(&key));
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}", kind in 0..4_usize) {
        let before = ["", "/ipns/", "dnslink=/ipns/", "1"][kind];
        hostile::ipns(format!("{before}{text}").as_bytes());
    }
}
