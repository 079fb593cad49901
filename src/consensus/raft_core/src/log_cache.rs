//! The `Storage` that raft-rs works on: what it needs of the log, in memory.
//!
//! Terms of the whole log are kept as runs, so `term()` never needs the disk. The
//! entries themselves are a tail. What is before the tail is on disk only:
//!
//! - for a follower that lags (an asynchronous context) the entries are asked for
//!   (`take_fetches`) and raft-rs is told to wait;
//! - everybody else inside raft-rs looks at no more than an entry's index, term and
//!   type (to hand out committed ranges, to count membership changes), so it gets
//!   entries without data, and the state machine's data is read where it is applied.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use raft::eraftpb::{ConfState, Entry, EntryType, HardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Result, Storage, StorageError};

pub struct Fetch {
    pub id: u64,
    pub first_index: u64,
    pub last_index: u64,
    pub bytes_max: u64,
}

struct Waiting {
    context: GetEntriesContext,
    request: Option<Fetch>,
}

pub struct LogCache {
    pub hard_state: HardState,
    pub conf_state: ConfState,
    truncated_index: u64,
    truncated_term: u64,
    last_index: u64,
    /// (first index, term), both increasing; covers truncated_index + 1..=last_index.
    runs: Vec<(u64, u64)>,
    /// Entries of the log that change the membership.
    conf_changes: BTreeMap<u64, EntryType>,
    /// The last entries, tail_first..=last_index.
    tail: VecDeque<Entry>,
    tail_first: u64,
    tail_bytes: usize,
    /// Entries on their way to a lagging follower, while raft-rs asks again for them.
    fetched: Vec<Entry>,
    waiting: RefCell<BTreeMap<u64, Waiting>>,
    next_fetch: RefCell<u64>,
    pub snapshot: Option<Snapshot>,
    snapshot_wanted: RefCell<bool>,
}

fn size_of(entry: &Entry) -> usize {
    entry.data.len() + entry.context.len() + 64
}

fn is_conf_change(entry_type: EntryType) -> bool {
    entry_type != EntryType::EntryNormal
}

impl LogCache {
    pub fn new(
        hard_state: HardState,
        conf_state: ConfState,
        truncated: (u64, u64),
        last_index: u64,
        runs: Vec<(u64, u64)>,
        conf_changes: BTreeMap<u64, EntryType>,
    ) -> LogCache {
        LogCache {
            hard_state,
            conf_state,
            truncated_index: truncated.0,
            truncated_term: truncated.1,
            last_index,
            runs,
            conf_changes,
            tail: VecDeque::new(),
            tail_first: last_index + 1,
            tail_bytes: 0,
            fetched: Vec::new(),
            waiting: RefCell::default(),
            next_fetch: RefCell::new(1),
            snapshot: None,
            snapshot_wanted: RefCell::new(false),
        }
    }

    pub fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.truncated_index {
            return Some(self.truncated_term);
        }
        if index < self.truncated_index || index > self.last_index {
            return None;
        }
        let run = self.runs.partition_point(|r| r.0 <= index);
        Some(self.runs[run - 1].1)
    }

    pub fn is_in_memory(&self, first_index: u64) -> bool {
        first_index >= self.tail_first
    }

    /// Appends `entries`, replacing whatever was at or after the first one's index.
    pub fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first().map(|e| e.index) else {
            return;
        };
        assert!(first > self.truncated_index && first <= self.last_index + 1);
        while self.runs.last().is_some_and(|r| r.0 >= first) {
            self.runs.pop();
        }
        self.conf_changes.split_off(&first);
        if first < self.tail_first {
            self.tail.clear();
            self.tail_bytes = 0;
            self.tail_first = first;
        }
        while self.tail.len() as u64 > first - self.tail_first {
            self.tail_bytes -= size_of(&self.tail.pop_back().unwrap());
        }
        for entry in entries {
            if self.runs.last().map_or(true, |r| r.1 != entry.term) {
                self.runs.push((entry.index, entry.term));
            }
            if is_conf_change(entry.get_entry_type()) {
                self.conf_changes.insert(entry.index, entry.get_entry_type());
            }
            self.tail_bytes += size_of(entry);
            self.tail.push_back(entry.clone());
        }
        self.last_index = entries.last().unwrap().index;
    }

    /// Drops the data of entries up to `applied` until the tail is small enough.
    pub fn evict(&mut self, applied: u64, bytes_max: usize) {
        while self.tail_bytes > bytes_max && self.tail_first <= applied && !self.tail.is_empty() {
            self.tail_bytes -= size_of(&self.tail.pop_front().unwrap());
            self.tail_first += 1;
        }
    }

    /// Forgets the log up to `index`, which is at most the applied index.
    pub fn truncate(&mut self, index: u64) {
        let Some(term) = self.term_at(index) else {
            return;
        };
        if index <= self.truncated_index {
            return;
        }
        while self.tail_first <= index && !self.tail.is_empty() {
            self.tail_bytes -= size_of(&self.tail.pop_front().unwrap());
            self.tail_first += 1;
        }
        self.tail_first = self.tail_first.max(index + 1);
        let keep = self.runs.partition_point(|r| r.0 <= index + 1);
        self.runs.drain(..keep.saturating_sub(1));
        if index == self.last_index {
            self.runs.clear();
        } else if let Some(first) = self.runs.first_mut() {
            first.0 = first.0.max(index + 1);
        }
        self.conf_changes = self.conf_changes.split_off(&(index + 1));
        self.truncated_index = index;
        self.truncated_term = term;
    }

    /// Replaces the log by the state of a snapshot.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        let meta = snapshot.get_metadata();
        self.truncated_index = meta.index;
        self.truncated_term = meta.term;
        self.last_index = meta.index;
        self.conf_state = meta.get_conf_state().clone();
        self.runs.clear();
        self.conf_changes.clear();
        self.tail.clear();
        self.tail_bytes = 0;
        self.tail_first = meta.index + 1;
        self.snapshot = None;
    }

    pub fn take_fetches(&mut self) -> Vec<Fetch> {
        let mut waiting = self.waiting.borrow_mut();
        waiting.values_mut().filter_map(|w| w.request.take()).collect()
    }

    /// Makes `entries` available to the context that waits for them, which the
    /// caller hands to raft-rs, and then calls `end_fetch`.
    pub fn begin_fetched(&mut self, id: u64, entries: Vec<Entry>) -> Option<GetEntriesContext> {
        let waiting = self.waiting.borrow_mut().remove(&id)?;
        self.fetched = entries;
        Some(waiting.context)
    }

    pub fn end_fetch(&mut self) {
        self.fetched.clear();
    }

    pub fn take_snapshot_wanted(&mut self) -> bool {
        self.snapshot_wanted.replace(false)
    }

    fn stub(&self, index: u64) -> Entry {
        let mut entry = Entry::default();
        entry.index = index;
        entry.term = self.term_at(index).unwrap_or(0);
        if let Some(entry_type) = self.conf_changes.get(&index) {
            entry.set_entry_type(*entry_type);
        }
        entry
    }
}

/// Entries handed out at once without their data: bounds memory, not disk.
const STUBS_MAX: u64 = 65536;

impl Storage for LogCache {
    fn initial_state(&self) -> Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        let max_size = max_size.into();
        if low <= self.truncated_index {
            return Err(Error::Store(StorageError::Compacted));
        }
        assert!(high <= self.last_index + 1);
        let mut found = Vec::new();
        if low < self.tail_first && context.can_async() {
            if let Some(offset) = self
                .fetched
                .first()
                .filter(|e| e.index <= low)
                .map(|e| (low - e.index) as usize)
                .filter(|offset| *offset < self.fetched.len())
            {
                let end = self.fetched.len().min(offset + (high - low) as usize);
                found.extend_from_slice(&self.fetched[offset..end]);
                raft::util::limit_size(&mut found, max_size);
                return Ok(found);
            }
            let mut next = self.next_fetch.borrow_mut();
            let id = *next;
            *next += 1;
            // A follower that asks again gets a new answer; the old one is still
            // harmless. Many such answers pending means they are not wanted.
            let mut waiting = self.waiting.borrow_mut();
            while waiting.len() >= 64 {
                waiting.pop_first();
            }
            let request = Some(Fetch {
                id,
                first_index: low,
                last_index: high - 1,
                bytes_max: max_size.unwrap_or(u64::MAX),
            });
            waiting.insert(id, Waiting { context, request });
            return Err(Error::Store(StorageError::LogTemporarilyUnavailable));
        }
        if low < self.tail_first {
            let mut end = high.min(self.tail_first);
            if max_size.is_some() {
                // Part of the range will do. Not past the tail's first entry: a
                // range is either all in memory or all on disk.
                end = end.min(low + STUBS_MAX);
                return Ok((low..end).map(|i| self.stub(i)).collect());
            }
            found.extend((low..end).map(|i| self.stub(i)));
        }
        let start = low.max(self.tail_first);
        if start < high {
            let from = (start - self.tail_first) as usize;
            let to = (high - self.tail_first) as usize;
            let mut bytes = 0;
            for entry in self.tail.range(from..to) {
                bytes += size_of(entry) as u64;
                if !found.is_empty() && max_size.is_some_and(|max| bytes > max) {
                    break;
                }
                found.push(entry.clone());
            }
        }
        Ok(found)
    }

    fn term(&self, index: u64) -> Result<u64> {
        match self.term_at(index) {
            Some(term) => Ok(term),
            None if index < self.truncated_index => Err(Error::Store(StorageError::Compacted)),
            None => Err(Error::Store(StorageError::Unavailable)),
        }
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.truncated_index + 1)
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last_index)
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> Result<Snapshot> {
        if let Some(snapshot) = &self.snapshot {
            let index = snapshot.get_metadata().index;
            if index >= request_index && index >= self.truncated_index {
                return Ok(snapshot.clone());
            }
        }
        self.snapshot_wanted.replace(true);
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        let mut e = Entry::default();
        e.index = index;
        e.term = term;
        e.data = vec![index as u8; 100].into();
        e
    }

    fn cache(last: u64) -> LogCache {
        let mut cache = LogCache::new(
            HardState::default(),
            ConfState::default(),
            (0, 0),
            0,
            vec![],
            BTreeMap::new(),
        );
        let entries: Vec<_> = (1..=last).map(|i| entry(i, 1 + i / 4)).collect();
        cache.append(&entries);
        cache
    }

    #[test]
    fn terms_of_the_whole_log_survive_eviction_and_truncation() {
        let mut c = cache(10);
        c.evict(8, 0);
        assert!(!c.is_in_memory(8) && c.is_in_memory(9));
        for i in 1..=10 {
            assert_eq!(c.term_at(i), Some(1 + i / 4));
        }
        for cut in 1..=10 {
            c.truncate(cut);
            assert_eq!(c.first_index().unwrap(), cut + 1);
            assert_eq!(c.last_index().unwrap(), 10);
            assert_eq!(c.term_at(cut - 1), None);
            for i in cut..=10 {
                assert_eq!(c.term_at(i), Some(1 + i / 4), "cut {cut} index {i}");
            }
        }
        c.append(&[entry(11, 9)]);
        assert_eq!(c.term_at(11), Some(9));
    }

    #[test]
    fn appending_replaces_a_conflicting_suffix() {
        let mut c = cache(10);
        c.append(&[entry(5, 7), entry(6, 8)]);
        assert_eq!(c.last_index().unwrap(), 6);
        assert_eq!((c.term_at(4), c.term_at(5), c.term_at(6)), (Some(2), Some(7), Some(8)));
        c.evict(6, 0);
        c.append(&[entry(3, 9)]);
        assert_eq!(c.last_index().unwrap(), 3);
        let found = c.entries(3, 4, None, GetEntriesContext::empty(false)).unwrap();
        assert_eq!(found, vec![entry(3, 9)]);
    }

    #[test]
    fn evicted_entries_are_stubs_or_fetched() {
        let mut c = cache(10);
        c.evict(6, 0);
        let found = c.entries(2, 11, None, GetEntriesContext::empty(false)).unwrap();
        assert_eq!(found.len(), 9);
        assert!(found[4].data.is_empty() && !found[5].data.is_empty());
        let some = c.entries(2, 11, Some(1), GetEntriesContext::empty(false)).unwrap();
        assert_eq!((some.len(), some[4].index), (5, 6));
        let error = c.entries(3, 11, Some(250), GetEntriesContext::empty(true)).unwrap_err();
        assert_eq!(error, Error::Store(StorageError::LogTemporarilyUnavailable));
        let fetches = c.take_fetches();
        assert_eq!((fetches[0].first_index, fetches[0].last_index), (3, 10));
        assert!(c.begin_fetched(fetches[0].id, vec![entry(3, 1), entry(4, 2)]).is_some());
        let found = c.entries(3, 11, Some(10_000), GetEntriesContext::empty(true)).unwrap();
        assert_eq!(found, vec![entry(3, 1), entry(4, 2)]);
        c.end_fetch();
        assert!(c.entries(3, 11, None, GetEntriesContext::empty(true)).is_err());
    }

    #[test]
    fn a_missing_snapshot_is_asked_for_once() {
        let mut c = cache(3);
        assert!(c.snapshot(0, 2).is_err());
        assert!(c.take_snapshot_wanted());
        assert!(!c.take_snapshot_wanted());
    }
}
