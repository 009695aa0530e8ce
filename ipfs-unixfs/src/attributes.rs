//! Modes and times of files and directories.

use crate::{
    Params,
    data::{Kind, Mtime, NewData},
    params::MODE_BITS,
};

/// What a node states beside its content, or what was found of it on a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) mode: Option<u32>,
    pub(crate) mtime: Option<Mtime>,
}

impl Attributes {
    /// None at all.
    pub(crate) const NONE: Self = Self { mode: None, mtime: None };

    /// What a node of this kind states of what was found, as the parameters say.
    pub(crate) fn of(params: &Params, kind: Kind, found: Self) -> Self {
        let mode = params.mode.of(found.mode).map(|mode| mode & MODE_BITS);
        let mode = match kind {
            Kind::Symlink => None,
            Kind::File => mode.filter(|mode| *mode != 0),
            _ => mode,
        };
        let mtime = params.mtime.of(found.mtime);
        // As Kubo: a whole second has no nanoseconds, rather than 0.
        let mtime = mtime.map(|at| Mtime { nanos: at.nanos.filter(|nanos| *nanos != 0), ..at });
        Self { mode, mtime }
    }

    /// A message of this kind that states them.
    pub(crate) fn data<'a>(self, kind: Kind) -> NewData<'a> {
        NewData { mode: self.mode, mtime: self.mtime, ..NewData::of(kind) }
    }
}
