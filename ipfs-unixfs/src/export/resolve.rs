//! Following a path of names.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use ipfs_traits::{Block, BlockSource, Cid, Error, Result, codes};

use crate::{
    Name, Node,
    dagpb::{self, Outline},
    data::{Data, Kind},
    hamt::{NameHash, Slot, look_up},
    name::path_text,
    node::DirectoryNode,
};

/// How many symbolic links a path may lead through: as many as Linux follows, less a few.
const MAX_SYMLINKS: usize = 32;

/// The longest target of a symbolic link that is followed, in bytes: the longest that systems take.
const MAX_TARGET: usize = 4096;

/// What is done with symbolic links on a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinksOnPath {
    /// The path ends at the first one, with what remains. One at the end is what the path leads to.
    #[default]
    Report,
    /// They are followed, one at the end too, as long as they lead to somewhere below the root. The
    /// path ends at one that does not.
    Follow,
}

/// How far a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resolution {
    /// To its end.
    Found(Cid),
    /// To a symbolic link.
    Symlink {
        /// The link's block.
        cid: Cid,
        /// Where it points: a stranger's bytes, which may be any path, or none.
        target: Bytes,
        /// What of the path comes behind it.
        rest: Vec<Name>,
    },
    /// To a block that is not UnixFS.
    Foreign {
        /// The block.
        cid: Cid,
        /// What of the path comes behind it, at least one name.
        rest: Vec<Name>,
    },
}

impl Resolution {
    /// The CID at the end of the path.
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] when a symbolic link stands on it; [`Error::UnknownCodec`] when it leads
    /// through a block that is not UnixFS.
    pub fn found(self) -> Result<Cid> {
        match self {
            Self::Found(cid) => Ok(cid),
            Self::Symlink { .. } => {
                let found = Kind::Symlink.name();
                Err(Error::WrongKind { expected: Kind::Directory.name(), found })
            }
            Self::Foreign { cid, .. } => Err(Error::UnknownCodec(cid.codec())),
        }
    }
}

/// What is next on a path.
enum Step {
    Name(Name),
    /// To the directory above, as a symbolic link may say.
    Up,
}

struct Path<'a> {
    source: &'a Arc<dyn BlockSource>,
    symlinks: LinksOnPath,
    /// The directories from the root on, and what the path has come to.
    way: Vec<Cid>,
    passed: Vec<Name>,
    steps: VecDeque<Step>,
    followed: usize,
    /// The symbolic link that was followed last, and what came behind it.
    last: Option<(Cid, Bytes, Vec<Name>)>,
}

pub(super) async fn resolve(
    source: &Arc<dyn BlockSource>,
    root: Cid,
    names: Vec<Name>,
    symlinks: LinksOnPath,
) -> Result<Resolution> {
    let steps = names.into_iter().map(Step::Name).collect();
    let (way, passed) = (vec![root], Vec::new());
    let mut path = Path { source, symlinks, way, passed, steps, followed: 0, last: None };
    path.follow().await.map_err(|error| path.blame(error))
}

/// What a block is to a path.
enum Place {
    Foreign,
    Symlink(Bytes),
    /// Of other kinds only what is below them matters.
    Node(Box<(Block, Option<Outlined>)>),
}

/// A node that says what it is in UnixFS, and whose links were not parsed yet.
struct Outlined {
    node: Outline,
    data: Data,
}

impl Path<'_> {
    async fn follow(&mut self) -> Result<Resolution> {
        loop {
            let at = self.at();
            if self.steps.is_empty() && self.symlinks == LinksOnPath::Report {
                return Ok(Resolution::Found(at));
            }
            match self.place(at).await? {
                Place::Foreign if self.steps.is_empty() => return Ok(Resolution::Found(at)),
                Place::Foreign => return Ok(Resolution::Foreign { cid: at, rest: self.rest() }),
                Place::Symlink(target) if !self.enter(at, &target)? => {
                    return Ok(Resolution::Symlink { cid: at, target, rest: self.rest() });
                }
                Place::Symlink(_) => {}
                Place::Node(node) => match self.steps.pop_front() {
                    None => return Ok(Resolution::Found(at)),
                    Some(Step::Up) => {
                        if !self.go_up(&node.0)?
                            && let Some((cid, target, rest)) = self.last.take()
                        {
                            return Ok(Resolution::Symlink { cid, target, rest });
                        }
                    }
                    Some(Step::Name(name)) => {
                        self.passed.push(name.clone());
                        self.way.push(self.child(*node, &name).await?);
                    }
                },
            }
        }
    }

    fn at(&self) -> Cid {
        *self.way.last().expect("the root is never left")
    }

    /// What remains of the path.
    fn rest(&self) -> Vec<Name> {
        let name = |step: &Step| match step {
            Step::Name(name) => name.clone(),
            Step::Up => Name::from(".."),
        };
        self.steps.iter().map(name).collect()
    }

    async fn place(&self, cid: Cid) -> Result<Place> {
        if !matches!(cid.codec(), codes::RAW | codes::DAG_PB) {
            return Ok(Place::Foreign);
        }
        let block = self.source.get(&cid).await?;
        match Outlined::of(&block)? {
            Some(Outlined { data, .. }) if data.kind() == Kind::Symlink => {
                Ok(Place::Symlink(data.content().unwrap_or_default()))
            }
            outlined => Ok(Place::Node(Box::new((block, outlined)))),
        }
    }

    /// Puts what a symbolic link says in its place; `false` if it is not to be followed.
    fn enter(&mut self, cid: Cid, target: &Bytes) -> Result<bool> {
        let leads_out = self.way.len() < 2 || target.is_empty() || target.starts_with(b"/");
        if self.symlinks == LinksOnPath::Report || leads_out || target.len() > MAX_TARGET {
            return Ok(false);
        }
        self.followed += 1;
        if self.followed > MAX_SYMLINKS {
            let what = "symbolic links on a path";
            return Err(Error::limit(what, MAX_SYMLINKS, self.followed));
        }
        self.last = Some((cid, target.clone(), self.rest()));
        // What it says is meant from the directory that it stands in.
        self.way.pop();
        for name in target.rsplit(|byte| *byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." => self.steps.push_front(Step::Up),
                name => self.steps.push_front(Step::Name(Name::from(target.slice_ref(name)))),
            }
        }
        Ok(true)
    }

    /// Goes to the directory above; `false` if that is out of the root.
    fn go_up(&mut self, block: &Block) -> Result<bool> {
        match Node::parse(block)? {
            Node::Directory(_) | Node::Shard(_) => {}
            other => {
                let expected = Kind::Directory.name();
                return Err(Error::WrongKind { expected, found: other.kind_name() });
            }
        }
        let leads_out = self.way.len() < 2;
        if !leads_out {
            self.way.pop();
        }
        Ok(!leads_out)
    }

    /// The entry of this name in a directory. Of a sharded one a block a level is read, those on the
    /// way of the name's hash.
    async fn child(
        &self,
        (block, outlined): (Block, Option<Outlined>),
        name: &[u8],
    ) -> Result<Cid> {
        let directory = self.at();
        let missing = || Error::NoEntry {
            name: String::from_utf8_lossy(name).into(),
            within: Box::new(directory),
        };
        let Some(mut shard) = outlined.filter(|it| it.data.kind() == Kind::HamtShard) else {
            return by_name(&block, name)?.ok_or_else(missing);
        };
        let mut hash = NameHash::of(name);
        loop {
            match look_up(&shard.node, &shard.data, &mut hash)?.ok_or_else(missing)? {
                Slot::Entry(link) if link.name == *name => return Ok(link.cid),
                Slot::Entry(_) => return Err(missing()),
                Slot::Shard { cid, .. } => {
                    let block = self.source.get(&cid).await?;
                    let none = || Error::malformed("HAMT shard", "it has no UnixFS data");
                    shard = Outlined::parse(block.into_data())?.ok_or_else(none)?;
                }
            }
        }
    }

    /// Says where an error was met, unless it is about the path and not about its blocks.
    fn blame(&self, error: Error) -> Error {
        if matches!(error, Error::NoEntry { .. } | Error::WrongKind { .. })
            || self.passed.is_empty()
        {
            return error;
        }
        error.at(path_text(&self.passed))
    }
}

impl Outlined {
    /// Of a block; `None` for what is no dag-pb, or has no UnixFS in it.
    fn of(block: &Block) -> Result<Option<Self>> {
        match block.cid().codec() {
            codes::DAG_PB => Self::parse(block.data().clone()),
            _ => Ok(None),
        }
    }

    fn parse(bytes: Bytes) -> Result<Option<Self>> {
        let node = Outline::parse(bytes)?;
        let data = node.data().and_then(|data| Data::parse(data).ok());
        Ok(data.map(|data| Self { node, data }))
    }
}

/// The entry of a directory in one block. What is dag-pb and no UnixFS is a directory here, as it is
/// to Kubo: old tools put such nodes together with names and data of their own.
fn by_name(block: &Block, name: &[u8]) -> Result<Option<Cid>> {
    let is_unixfs = block.cid().codec() != codes::DAG_PB || Outlined::of(block)?.is_some();
    let directory = match is_unixfs {
        true => Node::parse(block)?.into_directory()?,
        false => DirectoryNode::by_names(dagpb::Node::parse(block.data().clone())?),
    };
    Ok(directory.get(name).map(|link| link.cid))
}
