//! Cases of other implementations: CIDs, multihashes, multibase, varints, peer ids.

use std::collections::BTreeSet;

use cid::Version;
use ipfs_traits::{
    Cid, Error, HashTable, Multihash, PeerId, codes, parse_cid, read_cid, read_multihash, varint,
};
use multibase::Base;

use crate::support::{self, Case, Report, hex, table, to_hex};

#[test]
fn varints() {
    let path = "multiformats/varint_len.tsv";
    let mut report = Report::new(path);
    for case in table(path) {
        let mut out = Vec::new();
        varint::write(case["value"].parse().unwrap(), &mut out);
        report.same(case.id(), to_hex(&out), case["hex"].into());
        assert_eq!(out.len().to_string(), case["bytes"], "{}", case.id());
        assert_eq!(varint::read(&out, "test").unwrap().0.to_string(), case["value"]);
    }
    report.finish();
}

/// The code of a hash function as the tables spell it, if this build has it.
fn hash_code(name: &str, size: usize) -> Option<u64> {
    let code = match name {
        "identity" => codes::IDENTITY,
        "sha1" => codes::SHA1,
        "sha2-256" | "sha2_256" => codes::SHA2_256,
        "sha2-512" | "sha2_512" => codes::SHA2_512,
        // The first tables called SHA3-512 so.
        "sha3" | "sha3_512" => codes::SHA3_512,
        "sha3_384" => codes::SHA3_384,
        "sha3_256" => codes::SHA3_256,
        "sha3_224" => codes::SHA3_224,
        "keccak_512" => codes::KECCAK_512,
        "blake3" => codes::BLAKE3,
        _ if name.starts_with("blake2b_") => codes::BLAKE2B + size as u64,
        _ if name.starts_with("blake2s_") => codes::BLAKE2S + size as u64,
        _ => return None,
    };
    HashTable::standard().codes().any(|known| known == code).then_some(code)
}

#[test]
fn hashes_of_the_specification() {
    let path = "multiformats/multihash_spec.tsv";
    let mut report = Report::new(path);
    for case in table(path) {
        let size: usize = case["bits"].parse::<usize>().unwrap() / 8;
        hash_case(&mut report, &case, &case["algorithm"], size);
    }
    report.finish();
}

#[test]
fn hashes_of_go_multihash() {
    let path = "multiformats/multihash_sum.tsv";
    let mut report = Report::new(path);
    for case in table(path) {
        let expected = hex(&case["multihash"]);
        if &case["result"] != "ok" {
            report.left_out("an error of the library's own call");
            continue;
        }
        match read_multihash(&expected) {
            Ok((hash, _)) => hash_case(&mut report, &case, &case["func"], hash.size().into()),
            Err(Error::Limit { limit: 64, .. }) => {
                report.left_out("digests beyond 64 bytes, a typed error");
            }
            Err(error) => report.ran(case.id(), Err(error)),
        }
    }
    report.finish();
}

fn hash_case(report: &mut Report, case: &Case, name: &str, size: usize) {
    let Some(code) = hash_code(name, size) else {
        report.left_out("a function that is not allowed, or not in this build");
        return;
    };
    let whole = HashTable::standard().hash(code, case["input"].as_bytes()).unwrap();
    let cut = whole.truncate(size as u8);
    report.same(case.id(), to_hex(&cut.to_bytes()), case["multihash"].into());
}

#[test]
fn multihash_bytes() {
    let path = "multiformats/multihash_parse.tsv";
    let mut report = Report::new(path);
    for case in table(path) {
        let bytes = hex(&case["multihash_hex"]);
        // A multihash stands alone here: bytes behind it are an error.
        let whole = read_multihash(&bytes).and_then(|(hash, used)| match used == bytes.len() {
            true => Ok(hash),
            false => Err(Error::malformed("multihash", "bytes follow it")),
        });
        match (&case["valid"], whole) {
            ("true", Ok(hash)) => {
                let code = u64::from_str_radix(case["code"].trim_start_matches("0x"), 16).unwrap();
                let found = (hash.code(), hash.size().to_string(), to_hex(hash.digest()));
                let expected = (code, case["size"].to_owned(), case["digest_hex"].to_owned());
                report.same(case.id(), found, expected);
            }
            ("true", Err(error)) => report.ran(case.id(), Err(error)),
            (_, found) => report.same(case.id(), found.is_err(), true),
        }
    }
    report.finish();
}

#[test]
fn multibase_texts() {
    let path = "multiformats/multibase.tsv";
    let mut report = Report::new(path);
    for case in table(path) {
        let text = &case["text"];
        if &case["decoded_hex"] == "ERROR" {
            report.same(case.id(), multibase::decode(text).is_err(), true);
            continue;
        }
        let bytes = hex(&case["decoded_hex"]);
        match multibase::decode(text) {
            Ok((base, found)) => {
                report.same(case.id(), to_hex(&found), to_hex(&bytes));
                if &case["canonical"] == "true" {
                    assert_eq!(multibase::encode(base, &bytes), *text, "{}", case.id());
                }
            }
            Err(_) if &case["canonical"] != "true" => {
                report.left_out("spellings that no encoder emits and the library refuses");
            }
            Err(error) => report.ran(case.id(), Err(error)),
        }
    }
    report.finish();
}

fn base(name: &str) -> Base {
    match name {
        "base32" => Base::Base32Lower,
        "base58btc" => Base::Base58Btc,
        "base36" => Base::Base36Lower,
        "base256emoji" => Base::Base256Emoji,
        other => panic!("{other}"),
    }
}

/// What an operation of the table gives, as the table spells it.
fn operate(op: &str, input: &str) -> Result<String, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    if op == "parse-bytes-hex" {
        return parse_cid(&hex(input)).map(|cid| cid.to_string()).map_err(|e| text(&e));
    }
    let cid = Cid::try_from(input).map_err(|e| text(&e))?;
    let spell = |cid: Cid, name: &str| cid.to_string_of_base(base(name)).map_err(|e| text(&e));
    let v1 = |codec| Cid::new_v1(codec, *cid.hash());
    match op {
        "parse" => Ok(cid.to_string()),
        "to-v0" => Cid::new(Version::V0, cid.codec(), *cid.hash())
            .map(|cid| cid.to_string())
            .map_err(|e| text(&e)),
        "set-codec-raw base32" => spell(v1(codes::RAW), "base32"),
        "set-codec-dag-cbor base32" => spell(v1(codes::DAG_CBOR), "base32"),
        "bytes-hex" => Ok(to_hex(&cid.to_bytes())),
        "inspect" => Ok(inspect(&cid, input)),
        "read-block" => {
            HashTable::standard().check(&cid).map(|()| "allowed".into()).map_err(|e| text(&e))
        }
        _ => match op.strip_prefix("to-v1-").or_else(|| op.strip_prefix("to-")) {
            Some(name) => spell(v1(cid.codec()), name),
            None => panic!("unknown operation {op}"),
        },
    }
}

fn inspect(cid: &Cid, input: &str) -> String {
    let base = match input.chars().next() {
        Some('b') => "base32",
        Some('k') => "base36",
        _ => "base58btc",
    };
    let version = u64::from(cid.version());
    let (codec, hash) = (cid.codec(), cid.hash().code());
    let digest = to_hex(cid.hash().digest());
    format!("version={version} base={base} codec=0x{codec:02x} mh=0x{hash:02x} digest={digest}")
}

#[test]
fn cids() {
    let path = "multiformats/cid.tsv";
    let mut report = Report::new(path);
    let mut stream = Vec::new();
    let mut in_stream = Vec::new();
    for case in table(path) {
        let (op, input, expected) = (&case["op"], &case["input"], &case["expected"]);
        if op == "parse-lenient" {
            report.left_out("CIDs inside of paths and URLs, which are for the path parser");
            continue;
        }
        if beyond_our_identity(input) {
            report.left_out("identity CIDs of 65 to 128 bytes, a typed error");
            continue;
        }
        let found = operate(op, input);
        if expected.starts_with("ERROR") {
            report.same(case.id(), found.is_err(), true);
        } else {
            report.same(case.id(), found.as_deref(), Ok(expected));
        }
        if case.id().starts_with("g-stream") {
            let cid = Cid::try_from(input).unwrap();
            stream.extend(cid.to_bytes());
            in_stream.push(cid);
        }
    }
    let mut rest = &stream[..];
    for expected in in_stream {
        let (cid, used) = read_cid(rest).unwrap();
        assert_eq!(cid, expected, "CIDs behind one another");
        rest = &rest[used..];
    }
    report.finish();
}

/// Kubo allows 128 bytes of identity; beyond 64 ours is an error that names the limit.
fn beyond_our_identity(text: &str) -> bool {
    let limited =
        |bytes: &[u8]| matches!(parse_cid(bytes), Err(Error::Limit { limit: 64 | 168, .. }));
    multibase::decode(text).is_ok_and(|(_, bytes)| limited(&bytes))
}

/// A peer id from its text, or from a CID of its key.
fn peer(text: &str) -> Result<PeerId, String> {
    text.parse().or_else(|error: libp2p_identity::ParseError| {
        let cid = Cid::try_from(text).map_err(|_| error.to_string())?;
        PeerId::from_multihash(*cid.hash()).map_err(|hash| format!("{hash:?}"))
    })
}

#[test]
fn peer_ids_and_names() {
    let path = "multiformats/peer_ids_and_names.tsv";
    let mut report = Report::new(path);
    for case in table(path) {
        let (input, expected) = (&case["input"], &case["expected"]);
        match &case["kind"] {
            "pubkey->peerid" => {
                let key = hex(input);
                let code = if key.len() <= 42 { codes::IDENTITY } else { codes::SHA2_256 };
                let hash: Multihash = HashTable::standard().hash(code, &key).unwrap();
                let peer = PeerId::from_multihash(hash).map(|peer| peer.to_string());
                report.same(case.id(), peer.ok().as_deref(), Some(expected));
            }
            "peerid->ipns-name-base36" => {
                let name = peer(input).map(|peer| {
                    let hash = Multihash::from_bytes(&peer.to_bytes()).unwrap();
                    let cid = Cid::new_v1(codes::LIBP2P_KEY, hash);
                    cid.to_string_of_base(Base::Base36Lower).unwrap()
                });
                report.same(case.id(), name.as_deref(), Ok(expected));
            }
            "parse-peerid" => report.same(case.id(), peer(input).is_err(), expected == "ERROR"),
            other => panic!("{other}"),
        }
    }
    report.finish();
}

/// `code name` lines, as `ipfs cid hashes` prints them.
fn kubo_list(path: &str) -> Vec<(u64, String)> {
    let text = support::text(path);
    let line = |line: &str| {
        let (code, name) = line.trim().split_once(' ').unwrap();
        (code.parse().unwrap(), name.trim().to_owned())
    };
    text.lines().filter(|line| !line.trim().is_empty()).map(line).collect()
}

#[cfg(feature = "hashes")]
#[test]
fn the_standard_table_is_kubos_list_of_allowed_hashes() {
    let path = "multiformats/kubo_hashes.txt";
    let mut report = Report::new(path);
    let mut ours: BTreeSet<u64> = HashTable::standard().codes().collect();
    for (code, name) in kubo_list(path) {
        report.same(&name, ours.remove(&code), true);
    }
    assert!(ours.is_empty(), "only here: {ours:x?}");
    report.finish();
}

#[test]
fn codes_are_those_of_the_table() {
    let path = "multiformats/multicodec_table.csv";
    let mut report = Report::new(path);
    let text = support::text(path);
    let rows: BTreeSet<(String, u64)> = text
        .lines()
        .skip(1)
        .map(|line| {
            let cells: Vec<&str> = line.split(',').map(str::trim).collect();
            let code = u64::from_str_radix(cells[2].trim_start_matches("0x"), 16).unwrap();
            (cells[0].to_owned(), code)
        })
        .collect();
    for (name, code) in [
        ("raw", codes::RAW),
        ("cbor", codes::CBOR),
        ("dag-pb", codes::DAG_PB),
        ("dag-cbor", codes::DAG_CBOR),
        ("libp2p-key", codes::LIBP2P_KEY),
        ("git-raw", codes::GIT_RAW),
        ("dag-json", codes::DAG_JSON),
        ("json", codes::JSON),
        ("identity", codes::IDENTITY),
        ("sha1", codes::SHA1),
        ("sha2-256", codes::SHA2_256),
        ("sha2-512", codes::SHA2_512),
        ("sha3-512", codes::SHA3_512),
        ("sha3-384", codes::SHA3_384),
        ("sha3-256", codes::SHA3_256),
        ("sha3-224", codes::SHA3_224),
        ("shake-256", codes::SHAKE_256),
        ("keccak-224", codes::KECCAK_224),
        ("keccak-256", codes::KECCAK_256),
        ("keccak-384", codes::KECCAK_384),
        ("keccak-512", codes::KECCAK_512),
        ("blake3", codes::BLAKE3),
        ("dbl-sha2-256", codes::DBL_SHA2_256),
        ("blake2b-8", codes::BLAKE2B + 1),
        ("blake2b-512", codes::BLAKE2B + 64),
        ("blake2s-8", codes::BLAKE2S + 1),
        ("blake2s-256", codes::BLAKE2S + 32),
    ] {
        report.same(name, rows.contains(&(name.to_owned(), code)), true);
    }
    report.finish();
}
