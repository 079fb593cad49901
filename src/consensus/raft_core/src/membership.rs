//! Memberships between the bridge's form and raft-rs's, and the changes that lead from one
//! to another.

use protobuf::Message as _;
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState};

use crate::ffi::Membership;

pub fn to_conf_state(m: &Membership) -> ConfState {
    let mut cs = ConfState::default();
    cs.voters = m.voters.clone();
    cs.learners = m.learners.clone();
    cs.voters_outgoing = m.voters_outgoing.clone();
    cs.learners_next = m.learners_next.clone();
    cs.auto_leave = m.auto_leave;
    cs
}

pub fn from_conf_state(cs: &ConfState) -> Membership {
    fn sorted(ids: &[u64]) -> Vec<u64> {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    }
    Membership {
        voters: sorted(&cs.voters),
        learners: sorted(&cs.learners),
        voters_outgoing: sorted(&cs.voters_outgoing),
        learners_next: sorted(&cs.learners_next),
        auto_leave: cs.auto_leave,
    }
}

/// The changes that lead from `current` to `target`.
pub fn changes_to(current: &Membership, target: &Membership) -> Vec<ConfChangeSingle> {
    let change = |id: u64, kind: ConfChangeType| {
        let mut single = ConfChangeSingle::default();
        single.node_id = id;
        single.set_change_type(kind);
        single
    };
    let mut changes = Vec::new();
    for id in &target.voters {
        if !current.voters.contains(id) {
            changes.push(change(*id, ConfChangeType::AddNode));
        }
    }
    for id in &target.learners {
        if !current.learners.contains(id) {
            changes.push(change(*id, ConfChangeType::AddLearnerNode));
        }
    }
    for id in current.voters.iter().chain(&current.learners) {
        if !target.voters.contains(id) && !target.learners.contains(id) {
            changes.push(change(*id, ConfChangeType::RemoveNode));
        }
    }
    changes
}

pub fn encode_addition(id: u64, learner: bool, context: &[u8]) -> Vec<u8> {
    let kind = if learner { ConfChangeType::AddLearnerNode } else { ConfChangeType::AddNode };
    let mut single = ConfChangeSingle::default();
    single.node_id = id;
    single.set_change_type(kind);
    let mut change = ConfChangeV2::default();
    change.mut_changes().push(single);
    change.set_context(context.to_vec().into());
    change.write_to_bytes().expect("a membership change encodes")
}
