//! How much is in the folder: the blocks, counted exactly or not at all, and the figure that Kubo
//! keeps of it.

use std::{
    collections::HashSet,
    fmt,
    time::{Duration, Instant},
};

/// Blocks, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) blocks: u64,
    pub(super) bytes: u64,
}

impl Count {
    pub(super) fn add(&mut self, bytes: u64) {
        self.blocks = self.blocks.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn take(&mut self, bytes: u64) {
        self.blocks = self.blocks.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// What Kubo keeps in `diskUsage.cache`: the lengths of all files and directories together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DiskUsage {
    pub(super) bytes: u64,
    pub(super) accuracy: Accuracy,
}

/// How the figure was found before it was kept up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accuracy {
    Exact,
    Approximate,
    TimedOut,
    /// It may be an old one.
    Unknown,
}

impl Accuracy {
    const NAMES: [(Self, &str); 4] = [
        (Self::Exact, "initial-exact"),
        (Self::Approximate, "initial-approximate"),
        (Self::TimedOut, "initial-timed-out"),
        (Self::Unknown, "unknown"),
    ];
}

impl DiskUsage {
    /// The longest file that can hold it.
    pub(super) const MAX_FILE: u64 = 1024;

    /// What a directory takes on most file systems, while it is small.
    pub(super) const DIRECTORY: u64 = 4096;

    /// Reads the object of JSON that Kubo writes. Anything else, and what Kubo itself would not
    /// believe, is `None`: such a file is cut off, or was never synced.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?.trim();
        let (mut bytes, mut accuracy) = (None, Accuracy::Unknown);
        for field in text.strip_prefix('{')?.strip_suffix('}')?.split(',') {
            let (name, value) = field.split_once(':')?;
            let value = value.trim();
            match name.trim() {
                r#""diskUsage""# => bytes = Some(value.parse::<i64>().ok()?),
                r#""accuracy""# => {
                    let name = value.strip_prefix('"')?.strip_suffix('"')?;
                    let known = Accuracy::NAMES.into_iter().find(|(_, known)| *known == name);
                    accuracy = known.map_or(Accuracy::Unknown, |(accuracy, _)| accuracy);
                }
                _ => {}
            }
        }
        let bytes = bytes.filter(|bytes| *bytes > 0)?.unsigned_abs();
        Some(Self { bytes, accuracy })
    }
}

impl fmt::Display for DiskUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Accuracy::NAMES.iter().find(|(accuracy, _)| *accuracy == self.accuracy);
        let name = name.map_or("unknown", |(_, name)| name);
        // Kubo reads no larger number.
        let bytes = self.bytes.min(i64::MAX.unsigned_abs());
        writeln!(f, r#"{{"diskUsage":{bytes},"accuracy":"{name}"}}"#)
    }
}

/// What is known of how much the folder holds, kept up to date with what gets a name and what is
/// removed.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The blocks that have names.
    counted: Option<Count>,
    census: Option<Census>,
    /// How many counts were begun.
    begun: u64,
    disk: Option<DiskUsage>,
    /// What the file says, and since when; `None` until this owner has written it.
    written: Option<(u64, Instant)>,
    changed: bool,
}

/// A count that a listing makes, directory by directory, while blocks come and go: a directory that
/// was counted is kept up to date, and one that changes while it is counted is counted again.
#[derive(Debug, Default)]
struct Census {
    number: u64,
    done: HashSet<String>,
    current: String,
    disturbed: bool,
    count: Count,
}

impl Tally {
    pub(super) fn new(counted: Option<Count>, disk: Option<DiskUsage>) -> Self {
        Self { counted, disk, ..Self::default() }
    }

    /// The blocks that have names, if they were counted.
    pub(super) const fn counted(&self) -> Option<Count> {
        self.counted
    }

    /// The figure of Kubo's.
    pub(super) const fn disk(&self) -> Option<DiskUsage> {
        self.disk
    }

    /// A file got its name, in place of one of `before` bytes if there was one.
    pub(super) fn named(&mut self, directory: &str, len: u64, before: Option<u64>) {
        if let Some(before) = before {
            self.removed(directory, before);
        }
        self.change(directory, |count| count.add(len));
        self.change_disk(|bytes| bytes.saturating_add(len));
    }

    /// A file was removed.
    pub(super) fn removed(&mut self, directory: &str, len: u64) {
        self.change(directory, |count| count.take(len));
        self.change_disk(|bytes| bytes.saturating_sub(len));
    }

    /// A directory was made, in which nothing is yet.
    pub(super) fn directory_made(&mut self, name: &str) {
        if let Some(census) = &mut self.census {
            census.done.insert(name.to_owned());
        }
        self.change_disk(|bytes| bytes.saturating_add(DiskUsage::DIRECTORY));
    }

    fn change(&mut self, directory: &str, change: impl Fn(&mut Count)) {
        if let Some(count) = &mut self.counted {
            change(count);
        }
        if let Some(census) = &mut self.census {
            if census.done.contains(directory) {
                change(&mut census.count);
            } else if census.current == directory {
                census.disturbed = true;
            }
        }
    }

    fn change_disk(&mut self, change: impl Fn(u64) -> u64) {
        self.changed = true;
        if let Some(disk) = &mut self.disk {
            disk.bytes = change(disk.bytes);
        }
    }

    /// Begins a count, in place of one that another listing makes; `None` where none is needed.
    pub(super) fn begin(&mut self) -> Option<u64> {
        if self.counted.is_some() {
            return None;
        }
        self.begun += 1;
        self.census = Some(Census { number: self.begun, ..Census::default() });
        Some(self.begun)
    }

    /// Goes on to a directory; `false` where it is not to be counted.
    pub(super) fn enter(&mut self, number: u64, directory: &str) -> bool {
        let Some(census) = self.census(number) else { return false };
        (census.current, census.disturbed) = (directory.to_owned(), false);
        !census.done.contains(directory)
    }

    /// What was counted in the directory; `false` where it has changed meanwhile.
    pub(super) fn leave(&mut self, number: u64, counted: Count) -> bool {
        let Some(census) = self.census(number) else { return true };
        if census.disturbed {
            return false;
        }
        let directory = std::mem::take(&mut census.current);
        if census.done.insert(directory) {
            census.count.blocks = census.count.blocks.saturating_add(counted.blocks);
            census.count.bytes = census.count.bytes.saturating_add(counted.bytes);
        }
        true
    }

    /// All was counted. Where Kubo has no figure it gets this one.
    pub(super) fn finish(&mut self, number: u64) {
        let Some(Census { count, done, .. }) = self.census.take_if(|c| c.number == number) else {
            return;
        };
        self.counted = Some(count);
        if self.disk.is_none_or(|disk| disk.accuracy == Accuracy::Unknown) {
            // The folder itself and `.temp/` are directories too.
            let directories = (done.len() as u64 + 2).saturating_mul(DiskUsage::DIRECTORY);
            let bytes = count.bytes.saturating_add(directories);
            self.disk = Some(DiskUsage { bytes, accuracy: Accuracy::Approximate });
            self.changed = true;
        }
    }

    /// Gives a count up.
    pub(super) fn abandon(&mut self, number: u64) {
        self.census.take_if(|census| census.number == number);
    }

    fn census(&mut self, number: u64) -> Option<&mut Census> {
        self.census.as_mut().filter(|census| census.number == number)
    }

    /// What is to be written to Kubo's file now, and whether it is to be synced.
    ///
    /// The first change is written at once and synced, and with an accuracy that says that it may
    /// be an old one: whoever opens the folder after a crash is told so. Then it is written when
    /// it has moved by 1 % or for 2 s, as Kubo does.
    pub(super) fn due(&mut self, now: Instant) -> Option<(DiskUsage, bool)> {
        let disk = self.disk.filter(|_| self.changed)?;
        if let Some((bytes, at)) = self.written {
            let moved = bytes.abs_diff(disk.bytes).saturating_mul(100) > bytes;
            if !moved && now.saturating_duration_since(at) < Self::EVERY {
                return None;
            }
        }
        let first = self.written.replace((disk.bytes, now)).is_none();
        self.changed = false;
        Some((DiskUsage { accuracy: Accuracy::Unknown, ..disk }, first))
    }

    const EVERY: Duration = Duration::from_secs(2);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubos_figure_is_read_as_kubo_reads_it() {
        let read = |text: &str| DiskUsage::parse(text.as_bytes()).map(|d| (d.bytes, d.accuracy));
        let kubos = "{\"diskUsage\":8386,\"accuracy\":\"initial-exact\"}\n";
        assert_eq!(read(kubos), Some((8386, Accuracy::Exact)));
        assert_eq!(DiskUsage::parse(kubos.as_bytes()).unwrap().to_string(), kubos);
        let odd = r#" { "accuracy" : "other", "more": 1 , "diskUsage" : 9223372036854775807 } "#;
        assert_eq!(read(odd), Some((i64::MAX as u64, Accuracy::Unknown)));
        assert_eq!(read(r#"{"diskUsage":1}"#), Some((1, Accuracy::Unknown)));
        for bad in [
            "",
            "{}",
            "8386",
            r#"{"diskUsage":0,"accuracy":"initial-exact"}"#,
            r#"{"diskUsage":-1,"accuracy":"initial-exact"}"#,
            r#"{"diskUsage":9223372036854775808,"accuracy":"initial-exact"}"#,
            r#"{"diskUsage":1e9,"accuracy":"initial-exact"}"#,
            r#"{"diskUsage":8386,"accuracy":"initial-ex"#,
            r#"{"diskUsage":8386,"accuracy":1}"#,
            "\0\0\0\0\0\0\0\0",
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        let most = DiskUsage { bytes: u64::MAX, accuracy: Accuracy::Exact };
        assert!(DiskUsage::parse(most.to_string().as_bytes()).is_some());
    }

    #[test]
    fn a_count_follows_what_happens_meanwhile() {
        let mut tally = Tally::default();
        let number = tally.begin().unwrap();
        // What happens in a directory before it is counted is counted with it.
        tally.named("B", 100, None);
        assert!(tally.enter(number, "A"));
        assert!(tally.leave(number, Count { blocks: 2, bytes: 20 }));
        // And what happens later is added.
        tally.named("A", 5, None);
        tally.removed("A", 10);
        assert!(tally.enter(number, "B"));
        tally.named("B", 7, None);
        assert!(!tally.leave(number, Count { blocks: 1, bytes: 100 }), "it changed meanwhile");
        assert!(tally.enter(number, "B"));
        assert!(tally.leave(number, Count { blocks: 2, bytes: 107 }));
        // A directory that is new has nothing that was not seen coming, listed or not.
        tally.directory_made("C");
        tally.named("C", 1, None);
        assert!(!tally.enter(number, "C"));
        tally.finish(number);
        assert_eq!(tally.counted(), Some(Count { blocks: 5, bytes: 123 }));
        tally.named("A", 8, Some(5));
        assert_eq!(tally.counted(), Some(Count { blocks: 5, bytes: 126 }));
        assert_eq!(tally.begin(), None);
    }

    #[test]
    fn a_later_count_takes_the_place_of_an_earlier_one() {
        let mut tally = Tally::default();
        let (first, second) = (tally.begin().unwrap(), tally.begin().unwrap());
        assert!(!tally.enter(first, "A"));
        tally.finish(first);
        assert_eq!(tally.counted(), None);
        tally.finish(second);
        assert_eq!(tally.counted(), Some(Count::default()));
    }

    #[test]
    fn the_figure_is_written_when_it_has_moved() {
        let start = Instant::now();
        let mut tally =
            Tally::new(None, Some(DiskUsage { bytes: 1000, accuracy: Accuracy::Exact }));
        assert_eq!(tally.due(start), None, "nothing has changed");
        tally.named("A", 1, None);
        let (first, synced) = tally.due(start).unwrap();
        assert_eq!((first.bytes, first.accuracy, synced), (1001, Accuracy::Unknown, true));
        tally.named("A", 5, None);
        assert_eq!(tally.due(start), None, "less than a hundredth");
        assert_eq!(tally.due(start + Tally::EVERY).map(|(disk, _)| disk.bytes), Some(1006));
        tally.named("A", 11, None);
        assert_eq!(
            tally.due(start).map(|(disk, synced)| (disk.bytes, synced)),
            Some((1017, false))
        );
    }
}
