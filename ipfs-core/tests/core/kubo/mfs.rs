//! The same changes to a tree by `ipfs files` and by ours: the root is the same after each of them.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
};

use cid::Version;
use futures::TryStreamExt;
use ipfs_core::{
    Node, Result, codes,
    unixfs::{
        Params, Sharding, StatKind,
        data::Mtime,
        mfs::{FileOptions, Mfs, Options, Stat},
    },
};
use serde_json::{Value, json};

use super::{Kubo, program};
use crate::{content, numbers::Numbers, seeds::seeds};

/// The steps of a sequence.
const STEPS: usize = 300;

#[tokio::test(flavor = "multi_thread")]
async fn the_same_steps_make_the_same_tree() {
    let Some(program) = program() else { return };
    for seed in seeds(1, 34) {
        let mut numbers = Numbers(seed);
        let tree = Setting::of(&mut numbers);
        let kubo = Kubo::new(&program);
        kubo.tell_of_imports(tree.config.as_object().unwrap());
        let _daemon = kubo.start();
        let api = Api::of(&kubo);
        let node = Node::builder().offline().spawn().await.unwrap();
        let options = Options { params: tree.params.clone(), ..Options::default() };
        let mfs = node.mfs_with(options).await.unwrap();
        let mut done = 0;
        for number in 0..STEPS {
            let step = Step::of(&mut numbers);
            if step.is_odd_in_kubo(&mfs).await {
                continue;
            }
            let version = step.version(&mfs, &tree).await;
            let ours = step.ours(&mfs).await;
            let theirs = step.theirs(&api, version);
            let at = format!("IPFS_SEED={seed}, {tree:?}, step {number}, {step:?}");
            assert_eq!(ours.is_ok(), theirs.is_ok(), "{at}: ours {ours:?}, Kubo's {theirs:?}");
            if let Some(difference) = difference(&mfs, &api).await {
                panic!("{at}: {difference}");
            }
            done += usize::from(ours.is_ok());
        }
        println!("{done} of {STEPS} steps changed the tree");
        assert!(done > STEPS / 10);
        node.close().await.unwrap();
    }
}

/// Where two trees differ: the lowest path that has the same entries in both.
async fn difference(mfs: &Mfs, api: &Api) -> Option<String> {
    let (mut path, mut says) = (String::new(), None);
    loop {
        let at = if path.is_empty() { "/" } else { &path };
        let (ours, theirs) = (mfs.stat(at).await.unwrap(), api.stat(at));
        if ours.cid.to_string() == theirs["Hash"] {
            return says;
        }
        let listed: Vec<_> = match mfs.list(at).await {
            Ok(entries) => entries.try_collect().await.unwrap(),
            Err(_) => Vec::new(),
        };
        let differs = listed.iter().find(|entry| {
            let stat = api.call(&format!("stat?arg={path}/{}", entry.name), None);
            stat.is_ok_and(|stat| stat["Hash"] != entry.cid.to_string())
        });
        says = Some(format!("{at} has {listed:?}, ours {ours:?}, Kubo's {theirs}"));
        let Some(entry) = differs else { return says };
        path = format!("{path}/{}", entry.name);
    }
}

/// How new files and directories are made, as both sides are told.
#[derive(Debug)]
struct Setting {
    params: Params,
    config: Value,
}

impl Setting {
    fn of(numbers: &mut Numbers) -> Self {
        let one = numbers.coin();
        let profile = if one { Params::unixfs_v1_2025() } else { Params::unixfs_v0_2015() };
        let chunk = numbers.one(&["size-64", "size-1000", "rabin-16-32-64", "buzhash"]);
        // All directories but empty ones, or none. In between Kubo's depend on what they were.
        let threshold = numbers.one(&[30, 256 << 10]);
        let (estimation, sharding) = numbers.one(&[
            ("links", Sharding::ByLinks(threshold)),
            ("block", Sharding::ByBlock(threshold)),
        ]);
        let fanout = 8 << numbers.below(8);
        let chunker = chunk.parse().unwrap();
        let config = json!({
            "CidVersion": i32::from(one),
            "UnixFSRawLeaves": one,
            "UnixFSChunker": chunk,
            "UnixFSHAMTDirectorySizeThreshold": format!("{threshold}B"),
            "UnixFSHAMTDirectorySizeEstimation": estimation,
            "UnixFSHAMTDirectoryMaxFanout": fanout,
        });
        Self { params: Params { chunker, sharding, fanout, ..profile }, config }
    }
}

/// A change, which may be an error.
#[derive(Debug)]
enum Step {
    Mkdir { path: String, parents: bool },
    Write { path: String, parents: bool, truncate: bool, offset: u64, seed: u64, len: usize },
    Cp { from: String, to: String },
    Mv { from: String, to: String },
    Rm { path: String },
    Chmod { path: String, mode: u32 },
    Touch { path: String, seconds: i64, nanos: u32 },
    Chcid { path: String, version: Version },
}

impl Step {
    fn of(n: &mut Numbers) -> Self {
        match n.below(16) {
            0 | 1 => Self::Mkdir { path: path(n), parents: n.coin() },
            2 | 3 => Self::Cp { from: path(n), to: path(n) },
            4 | 5 => Self::Mv { from: path(n), to: path(n) },
            6 => Self::Rm { path: path(n) },
            7 => Self::Chmod { path: path(n), mode: n.one(&[0o600, 0o755, 0o644]) },
            8 => {
                let (seconds, nanos) = (n.one(&[1, 1_700_000_000]), n.one(&[0, 5]));
                Self::Touch { path: path(n), seconds, nanos }
            }
            9 => {
                let version = if n.coin() { Version::V1 } else { Version::V0 };
                Self::Chcid { path: path(n), version }
            }
            _ => {
                let offset = n.one(&[0, 0, 0, 1, 10, 63, 64, 65, 500, 20_000]);
                // A write of nothing makes a file longer in Kubo, unlike anywhere else.
                let len = n.one(&[usize::from(offset > 0), 1, 10, 64, 129, 4000, 300_000]);
                let (parents, truncate) = (n.coin(), n.below(4) == 0);
                Self::Write { path: path(n), parents, truncate, offset, seed: n.next(), len }
            }
        }
    }

    /// Whether what Kubo makes of it is a fault, or differs from run to run:
    ///
    /// - A file is removed that is moved to another directory of the same name under its own name.
    /// - A directory can be moved into itself.
    /// - A file with a time gets the time of the write.
    /// - In a file that has content in its root and more below it, as one leaf with a mode may get,
    ///   offsets are taken for those behind that content.
    /// - Of a sharded directory that gets other CIDs, some inner nodes get them and some do not.
    async fn is_odd_in_kubo(&self, mfs: &Mfs) -> bool {
        match self {
            Self::Mv { from, to } => {
                let last = |path: &str| path.rsplit('/').next().unwrap().to_owned();
                let parent = |path: &str| last(path.rsplit_once('/').unwrap().0);
                let to_the_same = last(from) == last(to) && parent(from) == parent(to);
                to_the_same || parent(from) == last(to) || to.starts_with(from.as_str())
            }
            Self::Write { path, truncate, offset, .. } => match mfs.stat(path).await {
                Ok(Stat { mode, mtime, kind: StatKind::File { size, .. }, .. }) => {
                    mtime.is_some() || (mode.is_some() && (*truncate || *offset < size))
                }
                _ => false,
            },
            Self::Chcid { path, .. } => match mfs.stat(path).await {
                Ok(stat) => matches!(stat.kind, StatKind::ShardedDirectory { .. }),
                Err(_) => false,
            },
            _ => false,
        }
    }

    /// The version of the CIDs of the file that is written, and of its leaves if they are raw. In
    /// Kubo that is the one that it is told; here a new file has that of its directory.
    async fn version(&self, mfs: &Mfs, tree: &Setting) -> Version {
        let Self::Write { path, .. } = self else { return tree.params.cid_version };
        for at in [path, path.rsplit_once('/').unwrap().0] {
            if let Ok(stat) = mfs.stat(at).await {
                return stat.cid.version();
            }
        }
        tree.params.cid_version
    }

    async fn ours(&self, mfs: &Mfs) -> Result<()> {
        match self {
            Self::Mkdir { path, parents } => mfs.mkdir(path, *parents).await,
            Self::Cp { from, to } => mfs.cp(from, to).await,
            Self::Mv { from, to } => mfs.mv(from, to).await,
            Self::Rm { path } => mfs.rm(path, true).await,
            Self::Chmod { path, mode } => mfs.chmod(path, Some(*mode)).await,
            Self::Touch { path, seconds, nanos } => {
                let nanos = (*nanos != 0).then_some(*nanos);
                mfs.touch(path, Some(Mtime { seconds: *seconds, nanos })).await
            }
            Self::Chcid { path, version } => {
                mfs.set_cid_format(path, *version, codes::SHA2_256).await
            }
            Self::Write { path, parents, truncate, offset, seed, len } => {
                let options = FileOptions { parents: *parents, ..FileOptions::write() };
                let mut file = mfs.open_file(path, options).await?;
                if *truncate {
                    file.truncate(0).await?;
                }
                file.write_at(*offset, content::bytes(*seed, *len)).await?;
                file.flush().await.map(drop)
            }
        }
    }

    fn theirs(&self, api: &Api, version: Version) -> Result<Value, String> {
        match self {
            Self::Mkdir { path, parents } => {
                api.call(&format!("mkdir?arg={path}&parents={parents}"), None)
            }
            Self::Cp { from, to } => api.call(&format!("cp?arg={from}&arg={to}"), None),
            Self::Mv { from, to } => api.call(&format!("mv?arg={from}&arg={to}"), None),
            Self::Rm { path } => api.call(&format!("rm?arg={path}&recursive=true"), None),
            Self::Chmod { path, mode } => api.call(&format!("chmod?arg={mode:o}&arg={path}"), None),
            Self::Touch { path, seconds, nanos } => {
                api.call(&format!("touch?arg={path}&mtime={seconds}&mtime-nsecs={nanos}"), None)
            }
            Self::Chcid { path, version } => {
                let version = u64::from(*version);
                api.call(&format!("chcid?arg={path}&cid-version={version}"), None)
            }
            Self::Write { path, parents, truncate, offset, seed, len } => {
                let (raw, version) = (version == Version::V1, u64::from(version));
                let query = format!(
                    "write?arg={path}&create=true&parents={parents}&truncate={truncate}\
                     &offset={offset}&raw-leaves={raw}&cid-version={version}"
                );
                api.call(&query, Some(&content::bytes(*seed, *len)))
            }
        }
    }
}

/// One of few, so that steps meet.
fn path(n: &mut Numbers) -> String {
    const NAMES: &[&str] = &["a", "b", "c", "d", "a_longer_name"];
    (0..n.within(1, 3)).map(|_| format!("/{}", n.one(NAMES))).collect()
}

/// The files of a daemon, over HTTP.
struct Api(String);

impl Api {
    fn of(kubo: &Kubo) -> Self {
        // /ip4/127.0.0.1/tcp/…
        let address = fs::read_to_string(kubo.repo().join("api")).unwrap();
        Self(format!("127.0.0.1:{}", address.trim().rsplit('/').next().unwrap()))
    }

    fn stat(&self, path: &str) -> Value {
        self.call(&format!("stat?arg={path}"), None).unwrap()
    }

    /// One call, with content where it takes some.
    fn call(&self, query: &str, content: Option<&[u8]>) -> Result<Value, String> {
        let (kind, body) = match content {
            None => ("", Vec::new()),
            Some(content) => {
                let head =
                    b"--cut\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n";
                let kind = "Content-Type: multipart/form-data; boundary=cut\r\n";
                (kind, [&head[..], content, b"\r\n--cut--\r\n"].concat())
            }
        };
        // HTTP/1.0, so that the answer ends with the connection.
        let (host, len) = (&self.0, body.len());
        let head = format!(
            "POST /api/v0/files/{query} HTTP/1.0\r\nHost: {host}\r\n\
             Content-Length: {len}\r\n{kind}\r\n"
        );
        let mut stream = TcpStream::connect(&self.0).unwrap();
        let sent = stream.write_all(&[head.as_bytes(), &body].concat());
        let mut answer = String::new();
        if let Err(error) = sent.and_then(|()| stream.read_to_string(&mut answer)) {
            // It has not read all of the content, since it has refused the call.
            let closed = matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
            assert!(content.is_some() && closed, "{error}");
            return Err(answer);
        }
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        match head.split(' ').nth(1) {
            Some("200") if body.is_empty() => Ok(Value::Null),
            // `rm` says so when it fails, too.
            Some("200") => match serde_json::from_str(body) {
                Ok(answer @ Value::Object(_)) => Ok(answer),
                _ => Err(body.to_owned()),
            },
            _ => Err(body.to_owned()),
        }
    }
}
