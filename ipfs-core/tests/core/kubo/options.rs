//! What an import can be told, as both sides spell it, and how a case is drawn.

use std::{collections::BTreeMap, fmt, path::Path};

use cid::Version;
use ipfs_core::{
    codes,
    unixfs::{Attribute, Chunker, Layout, Params, Sharding, Symlinks, data::Mtime},
};
use serde_json::{Value, json};

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
    ("chunks", 2, |n, case| {
        let spelled = match n.below(4) {
            0 => rabin(n),
            1 => "buzhash".into(),
            _ => format!("size-{}", fixed(n)),
        };
        case.params.chunker = spelled.parse().unwrap();
        case.flag("chunker", spelled);
    }),
    ("trickle", 3, |_, case| {
        case.params.layout = Layout::Trickle;
        case.flag("trickle", true);
    }),
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
    ("estimation", 3, |n, case| {
        let (name, sharding) = n.one(&[
            ("links", Sharding::ByLinks(256 << 10)),
            ("block", Sharding::ByBlock(256 << 10)),
            ("disabled", Sharding::Never),
        ]);
        case.params.sharding = sharding;
        case.config.insert("UnixFSHAMTDirectorySizeEstimation", json!(name));
    }),
    ("threshold", 2, |n, case| {
        let bytes = n.one(&[1, 60, 300, 1000, 4096, 20_000]) + n.within(0, 60);
        case.params.sharding = match case.params.sharding {
            Sharding::ByLinks(_) => Sharding::ByLinks(bytes),
            Sharding::ByBlock(_) => Sharding::ByBlock(bytes),
            other => other,
        };
        case.config.insert("UnixFSHAMTDirectorySizeThreshold", json!(format!("{bytes}B")));
    }),
    ("max links of a directory", 4, |n, case| {
        let most = n.one(&[1, 2, 3, 10, 100, 600]);
        case.params.max_directory_links = Some(most);
        case.flag("max-directory-links", most);
    }),
    ("fanout", 3, |n, case| {
        case.params.fanout = 8 << n.below(8);
        case.flag("max-hamt-fanout", case.params.fanout);
    }),
    ("inline", 4, |n, case| {
        let most = n.one(&[1, 4, 10, 32, 40, 63, 64]);
        case.params.inline = Some(most);
        case.flag("inline", true);
        case.flag("inline-limit", most);
    }),
    ("mode", 6, |n, case| {
        case.with_attributes();
        case.params.mode = match n.below(2) {
            0 => Attribute::Kept,
            // Of the bits above these it takes none, though it keeps those that it finds.
            _ => Attribute::Set(n.one(&[0o700, 0o644, 0o755, 0o777])),
        };
        match case.params.mode {
            Attribute::Set(mode) => case.flag("mode", mode),
            _ => case.flag("preserve-mode", true),
        }
    }),
    ("mtime", 6, |n, case| {
        case.with_attributes();
        if n.coin() {
            case.params.mtime = Attribute::Kept;
            return case.flag("preserve-mtime", true);
        }
        let seconds = n.one(&[1, -1, 1_700_000_000, -2_000_000_000, 1 << 33]);
        let nanos = n.one(&[0, 1, 999_999_999]);
        let stated = (nanos != 0).then_some(nanos);
        case.params.mtime = Attribute::Set(Mtime { seconds, nanos: stated });
        case.flag("mtime", seconds);
        case.flag("mtime-nsecs", nanos);
    }),
    ("symbolic links followed", 4, |_, case| {
        case.params.symlinks = Symlinks::Followed;
        case.flag("dereference-symlinks", true);
    }),
    ("no empty directories", 4, |_, case| {
        case.params.empty_directories = false;
        case.flag("empty-dirs", false);
    }),
    ("ignore", 4, |n, case| {
        let rule = n.one(&["wide", "file *", "d", "*a*", "same", "target", "[0-9]*", "_"]);
        case.params.ignore = vec![rule.into()];
        case.flag("ignore", rule);
    }),
    ("wrap", 4, |_, case| {
        // What a tree is called on disk.
        case.params.wrap = Some("input".into());
        case.flag("wrap-with-directory", true);
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
fn fixed(n: &mut Numbers) -> usize {
    match n.below(4) {
        0 => n.within(1, 64),
        1 => n.within(65, 4000),
        2 => n.one(&[4096, 65_536, 262_144]),
        _ => n.one(&[1 << 20, Chunker::MAX_SIZE - 1, Chunker::MAX_SIZE]),
    }
}

/// All spellings. An average under 48 is an error of ours.
fn rabin(n: &mut Numbers) -> String {
    let (min, by) = (n.within(16, 5000), n.within(1, 9000));
    match n.below(4) {
        0 => "rabin".into(),
        1 => format!("rabin-{}", n.within(48, 300_000)),
        2 => format!("rabin-{min}-{}-{}", min + by, min + by + n.within(1, 9000)),
        _ => format!("rabin-min:{min}-avg:{}-max:{}", min + by, min + 2 * by),
    }
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

    fn raw_leaves(&mut self, raw: bool) {
        self.params.raw_leaves = raw;
        self.flag("raw-leaves", raw);
    }

    /// Modes and times have no room in raw leaves, and Kubo wants that said.
    fn with_attributes(&mut self) {
        self.raw_leaves(false);
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
