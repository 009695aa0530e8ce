//! What an import can be told, as both sides spell it, and how a case is drawn.

use std::{collections::BTreeMap, fmt, path::Path};

use cid::Version;
use ipfs_core::{
    codes,
    unixfs::{Chunker, Params},
};
use serde_json::Value;

use crate::numbers::Numbers;

/// What an import is told.
pub(super) struct Case {
    /// As ours is told.
    pub(super) params: Params,
    /// The profile that Kubo applies first.
    pub(super) profile: &'static str,
    /// As `ipfs add` is told: options without their dashes.
    flags: BTreeMap<&'static str, String>,
    /// What Kubo has in its configuration, below `Import`, beyond its profile.
    pub(super) config: BTreeMap<&'static str, Value>,
    /// The rows of [`OPTIONS`] that were drawn.
    drawn: Vec<&'static str>,
}

/// Something to be told: its name, how often (one case in so many), and how it is drawn and told to
/// both sides.
type Row = (&'static str, u64, fn(&mut Numbers, &mut Case));

/// All options. A row sees what the rows before it have drawn, and may change it.
const OPTIONS: &[Row] = &[
    ("the older profile", 2, |_, case| {
        case.params = Params::unixfs_v0_2015();
        case.profile = "unixfs-v0-2015";
    }),
    ("fixed chunks", 2, |n, case| case.chunker(fixed(n))),
    ("max links", 2, |n, case| {
        case.params.max_links = n.one(&[2, 3, 4, 7, 174, 1024]);
        case.flag("max-file-links", case.params.max_links);
    }),
    ("raw leaves", 2, |n, case| case.raw_leaves(n.coin())),
    ("CID version", 3, |n, case| {
        let raw = case.params.raw_leaves;
        case.version(n.coin());
        // Kubo takes the version as a wish for raw leaves.
        case.raw_leaves(raw);
    }),
    ("hash", 3, |n, case| {
        let (name, code) = n.one(HASHES);
        case.params.hash = code;
        case.flag("hash", name);
        if code != codes::SHA2_256 {
            case.version(true);
            case.raw_leaves(case.params.raw_leaves);
        }
    }),
    ("hidden", 2, |_, case| {
        case.params.hidden = true;
        case.flag("hidden", true);
    }),
];

/// The names that both have for hash functions.
const HASHES: &[(&str, u64)] = &[
    ("sha2-256", codes::SHA2_256),
    ("sha2-512", codes::SHA2_512),
    ("sha1", codes::SHA1),
    ("sha3-224", 0x17),
    ("sha3-256", 0x16),
    ("sha3-512", 0x14),
    ("shake-256", 0x19),
    ("keccak-256", 0x1b),
    ("keccak-512", 0x1d),
    ("dbl-sha2-256", 0x56),
    ("blake2b-160", 0xb214),
    ("blake2b-256", 0xb220),
    ("blake2b-512", 0xb240),
    ("blake2s-256", 0xb260),
    ("blake3", 0x1e),
];

/// Any size, small ones before others, up to what Kubo takes.
fn fixed(n: &mut Numbers) -> Chunker {
    let size = match n.below(4) {
        0 => 1 + n.below(64) as usize,
        1 => 65 + n.below(4000) as usize,
        2 => n.one(&[4096, 65_536, 262_144]),
        _ => n.one(&[1 << 20, Chunker::MAX_SIZE - 1, Chunker::MAX_SIZE]),
    };
    Chunker::fixed(size).unwrap()
}

impl Numbers {
    pub(super) fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    pub(super) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// From one to the other, both of them included.
    pub(super) fn within(&mut self, from: usize, to: usize) -> usize {
        from + self.below((to - from) as u64 + 1) as usize
    }
}

impl Case {
    /// The case of a seed, without the rows named. What else is drawn does not change by that.
    pub(super) fn new(seed: u64, without: &[&str]) -> Self {
        let mut case = Self {
            params: Params::unixfs_v1_2025(),
            profile: "unixfs-v1-2025",
            flags: BTreeMap::new(),
            config: BTreeMap::new(),
            drawn: Vec::new(),
        };
        for (number, (name, odds, draw)) in (1..).zip(OPTIONS) {
            let mut numbers = Numbers(seed ^ (number << 40));
            if numbers.below(*odds) == 0 && !without.contains(name) {
                draw(&mut numbers, &mut case);
                case.drawn.push(name);
            }
        }
        assert!(case.params.check().is_ok(), "{case}: {:?}", case.params.check());
        case
    }

    pub(super) fn drawn(&self) -> &[&'static str] {
        &self.drawn
    }

    fn flag(&mut self, name: &'static str, value: impl fmt::Display) {
        self.flags.insert(name, value.to_string());
    }

    fn chunker(&mut self, chunker: Chunker) {
        let Chunker::Fixed(size) = chunker else { unreachable!() };
        self.flag("chunker", format!("size-{size}"));
        self.params.chunker = chunker;
    }

    fn raw_leaves(&mut self, raw: bool) {
        self.params.raw_leaves = raw;
        self.flag("raw-leaves", raw);
    }

    fn version(&mut self, one: bool) {
        self.params.cid_version = if one { Version::V1 } else { Version::V0 };
        self.flag("cid-version", i32::from(one));
    }

    /// The arguments of Kubo that add `path`, without its being stored.
    pub(super) fn arguments(&self, path: &Path) -> Vec<String> {
        let flags = self.flags.iter().map(|(name, value)| format!("--{name}={value}"));
        let fixed = ["add", "--offline", "-r", "-Q", "--pin=false"].map(String::from);
        let path = path.to_str().unwrap().to_owned();
        fixed.into_iter().chain(flags).chain([path]).collect()
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}, {:?}, ipfs add", self.drawn, self.profile, self.config)?;
        self.flags.iter().try_for_each(|(name, value)| write!(f, " --{name}={value}"))
    }
}
