//! Walking from object to object.

use std::collections::{BTreeSet, HashSet};

use crate::{Object, ObjectId};

/// Finds all objects below some roots, each once, wherever they come from: it says which one is
/// wanted, and is shown it.
///
/// It holds the ids that it has seen, 33 bytes for each, and those that it has yet to visit.
///
/// ```
/// use std::collections::HashMap;
/// use ipld_git::{Mode, Object, ObjectFormat, TreeBuilder, Walk, blob};
///
/// let format = ObjectFormat::Sha1;
/// let file = blob(b"hello\n");
/// let file_id = format.hash(&file)?;
/// let tree = TreeBuilder::new(format).entry(Mode::FILE, "a", file_id).build()?;
/// let tree_id = format.hash(&tree)?;
/// let store = HashMap::from([(file_id, file), (tree_id, tree)]);
///
/// let mut walk = Walk::new([tree_id]);
/// let mut found = Vec::new();
/// while let Some(id) = walk.next_wanted() {
///     walk.add(&id, &Object::parse(format, &store[&id])?);
///     found.push(id);
/// }
/// assert_eq!(found, [tree_id, file_id]);
/// # Ok::<(), ipld_git::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Walk {
    wanted: Vec<ObjectId>,
    seen: HashSet<ObjectId>,
    skip_submodules: bool,
    submodules: BTreeSet<ObjectId>,
    shallow: HashSet<ObjectId>,
}

impl Walk {
    /// A walk that begins at these objects.
    pub fn new(roots: impl IntoIterator<Item = ObjectId>) -> Self {
        let mut walk = Self::default();
        roots.into_iter().for_each(|root| walk.want(root));
        walk
    }

    /// Skips the commits of submodules, which are objects of other repositories, and remembers them.
    #[must_use]
    pub const fn without_submodules(mut self) -> Self {
        self.skip_submodules = true;
        self
    }

    /// Does not go on from these commits to their parents: their history is left out. A repository of
    /// what is found has to say so (`NewRepository::set_shallow`, feature `repository`).
    #[must_use]
    pub fn shallow(mut self, commits: impl IntoIterator<Item = ObjectId>) -> Self {
        self.shallow.extend(commits);
        self
    }

    /// An object to show to [`add`](Self::add) next; each is named once. Several may be asked for
    /// before the first is shown: there may be more while any of them is outstanding.
    pub fn next_wanted(&mut self) -> Option<ObjectId> {
        self.wanted.pop()
    }

    /// Takes note of what the object of this id links to.
    pub fn add(&mut self, id: &ObjectId, object: &Object<'_>) {
        match object {
            Object::Commit(commit) if self.shallow.contains(id) => self.want(commit.tree()),
            Object::Tree(tree) if self.skip_submodules => {
                for entry in tree.entries() {
                    if entry.mode().is_submodule() {
                        self.submodules.insert(entry.id);
                    } else {
                        self.want(entry.id);
                    }
                }
            }
            _ => object.links().for_each(|id| self.want(id)),
        }
    }

    /// The commits of submodules that were skipped, each once, in the order of their ids. Such a
    /// commit may be one of this repository, too, and is then walked when it is met there.
    pub fn submodules(&self) -> impl ExactSizeIterator<Item = &ObjectId> {
        self.submodules.iter()
    }

    fn want(&mut self, id: ObjectId) {
        if self.seen.insert(id) {
            self.wanted.push(id);
        }
    }
}
