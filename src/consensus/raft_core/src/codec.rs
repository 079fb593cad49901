//! Entries as bytes: for each one its term (u64), type (u8), context length
//! (u32), data length (u32), context, data; little-endian. Indexes are implied by
//! the first one's.

use std::pin::Pin;

use cxx::CxxString;
use raft::eraftpb::{Entry, EntryType};

const HEADER_BYTES: usize = 17;

/// Where encoded bytes go, so that large entries are copied once.
pub trait Sink {
    fn reserve(&mut self, bytes: usize);
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn reserve(&mut self, bytes: usize) {
        Vec::reserve(self, bytes);
    }
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Sink for Pin<&mut CxxString> {
    fn reserve(&mut self, bytes: usize) {
        self.as_mut().reserve(bytes);
    }
    fn put(&mut self, bytes: &[u8]) {
        self.as_mut().push_bytes(bytes);
    }
}

pub fn encode(entries: &[Entry], out: &mut impl Sink) {
    let size = |e: &Entry| HEADER_BYTES + e.context.len() + e.data.len();
    out.reserve(entries.iter().map(size).sum());
    for e in entries {
        let mut header = [0; HEADER_BYTES];
        header[0..8].copy_from_slice(&e.term.to_le_bytes());
        header[8] = e.get_entry_type() as u8;
        header[9..13].copy_from_slice(&(e.context.len() as u32).to_le_bytes());
        header[13..17].copy_from_slice(&(e.data.len() as u32).to_le_bytes());
        out.put(&header);
        out.put(&e.context);
        out.put(&e.data);
    }
}

pub fn entry_type(value: u8) -> Option<EntryType> {
    match value {
        0 => Some(EntryType::EntryNormal),
        1 => Some(EntryType::EntryConfChange),
        2 => Some(EntryType::EntryConfChangeV2),
        _ => None,
    }
}

/// None if `bytes` are not what `encode` gave.
pub fn decode(first_index: u64, mut bytes: &[u8]) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        if bytes.len() < HEADER_BYTES {
            return None;
        }
        let (header, rest) = bytes.split_at(HEADER_BYTES);
        let context_len = u32::from_le_bytes(header[9..13].try_into().unwrap()) as usize;
        let data_len = u32::from_le_bytes(header[13..17].try_into().unwrap()) as usize;
        if rest.len() < context_len + data_len {
            return None;
        }
        let (context, rest) = rest.split_at(context_len);
        let (data, rest) = rest.split_at(data_len);
        let mut entry = Entry::default();
        entry.index = first_index + entries.len() as u64;
        entry.term = u64::from_le_bytes(header[0..8].try_into().unwrap());
        entry.set_entry_type(entry_type(header[8])?);
        entry.context = context.to_vec().into();
        entry.data = data.to_vec().into();
        entries.push(entry);
        bytes = rest;
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_gives_back_what_was_encoded() {
        let mut a = Entry::default();
        a.index = 7;
        a.term = 3;
        a.data = vec![1, 2, 3].into();
        a.context = vec![9].into();
        let mut b = a.clone();
        b.index = 8;
        b.set_entry_type(EntryType::EntryConfChangeV2);
        b.data = vec![].into();
        let mut bytes = Vec::new();
        encode(&[a.clone(), b.clone()], &mut bytes);
        assert_eq!(decode(7, &bytes), Some(vec![a, b]));
        assert_eq!(decode(7, &[]), Some(vec![]));
        for cut in [1, 16, 20, bytes.len() - 1] {
            assert_eq!(decode(7, &bytes[..cut]), None);
        }
    }
}
