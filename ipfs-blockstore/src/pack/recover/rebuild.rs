//! Making the index from the segments alone.

use std::{collections::HashSet, sync::Arc};

use super::{Checkpoint, Found, PackError, Place, Position, Recovery, Scan, Segment, Stretch};
use crate::pack::{
    TABLE,
    log::{add, take},
};

impl<'a> Recovery<'a> {
    /// Takes over the newest record of each block that no frame says is dead.
    ///
    /// Segments are read from the newest to the oldest, each twice: first what is dead, which frames
    /// of this segment and of newer ones tell, then what is not.
    pub(super) fn rebuild(&mut self) -> Result<(), PackError> {
        let segments = self.site.segments.all();
        for segment in &segments {
            let opening = self.scan(segment)?.opening();
            self.durable = self.durable.max(opening.map_or(0, |opening| opening.durable));
        }
        let (mut dead, mut newest) = (HashSet::new(), None);
        for (i, segment) in segments.iter().rev().enumerate() {
            self.collect_dead(segment, &mut dead)?;
            let scan = self.scan_as_needed(segment)?;
            let dead_ones = &dead;
            self.read_on(segment, scan, |recovery, stretch| {
                recovery.take_alive(stretch, dead_ones)
            })?;
            if i == 0 {
                newest = self.tail.take();
            }
            dead.retain(|at: &Position| at.segment < segment.number);
            self.write_index()?;
        }
        self.tail = newest;
        Ok(())
    }

    /// What is durable was whole once. What is not may never have been, and must not be believed.
    fn scan_as_needed(&self, segment: &Arc<Segment>) -> Result<Scan<'a>, PackError> {
        let scan = self.scan(segment)?;
        Ok(if segment.number <= self.durable { scan.without_check() } else { scan })
    }

    fn collect_dead(
        &self,
        segment: &Arc<Segment>,
        dead: &mut HashSet<Position>,
    ) -> Result<(), PackError> {
        let (mut scan, mut moved) = (self.scan_as_needed(segment)?, Vec::new());
        while let Some(stretch) = scan.next()? {
            dead.extend(stretch.kills);
            dead.extend(stretch.records.iter().filter_map(|found| found.moved));
            moved.extend(stretch.broken.into_iter().filter_map(|(at, from)| Some((at, from?))));
        }
        // A record that has moved is dead although its new place is damaged, if the block was
        // deleted after that.
        for (at, from) in moved.into_iter().rev() {
            if dead.contains(&at) {
                dead.insert(from);
            }
        }
        Ok(())
    }

    fn take_alive(&mut self, stretch: &Stretch, dead: &HashSet<Position>) -> Result<(), PackError> {
        self.note_broken(stretch);
        stretch.records.iter().try_for_each(|found| self.take_if_alive(found, dead))
    }

    fn take_if_alive(&mut self, found: &Found, dead: &HashSet<Position>) -> Result<(), PackError> {
        let Place { segment, offset, .. } = found.place;
        let at = Position { segment, offset };
        add(&mut self.contents, &found.place);
        if dead.contains(&at) {
            take(&mut self.contents, &found.place);
            return Ok(());
        }
        match self.place(found)? {
            // A newer one is known. Of two in one segment either is as good.
            Some(_) => {
                take(&mut self.contents, &found.place);
                self.kills.push(at);
            }
            None => self.index.apply([(found.key, Some(found.place))]),
        }
        Ok(())
    }

    /// Writes the index to its files when much of it is in memory.
    fn write_index(&self) -> Result<(), PackError> {
        if self.index.table_len() >= TABLE {
            self.index.freeze(Checkpoint::UNFINISHED);
            while self.index.write_frozen()? {}
            while self.index.merge()? {}
        }
        Ok(())
    }
}
