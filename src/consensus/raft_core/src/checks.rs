//! What is checked of a message before raft-rs sees it. raft-rs trusts its peers:
//! each of these messages would make it panic or do harm (RAFT: "Pitfalls").

use std::collections::HashSet;

use raft::eraftpb::{ConfState, Message, MessageType};
use raft::{Raft, StateRole, Storage};

/// Far beyond what a group can reach; a message with more is damaged or hostile.
const TERM_MAX: u64 = 1 << 48;
const INDEX_MAX: u64 = 1 << 56;

/// Whether `cs` is a membership that raft-rs can be given.
pub fn is_sound(cs: &ConfState) -> bool {
    fn set(ids: &[u64]) -> Option<HashSet<u64>> {
        let set: HashSet<u64> = ids.iter().copied().collect();
        (set.len() == ids.len() && !set.contains(&0)).then_some(set)
    }
    let (Some(voters), Some(learners), Some(outgoing), Some(next)) = (
        set(&cs.voters),
        set(&cs.learners),
        set(&cs.voters_outgoing),
        set(&cs.learners_next),
    ) else {
        return false;
    };
    !voters.is_empty()
        && learners.is_disjoint(&voters)
        && learners.is_disjoint(&outgoing)
        && next.is_subset(&outgoing)
        && next.is_disjoint(&voters)
        && next.is_disjoint(&learners)
        && (!outgoing.is_empty() || !cs.auto_leave)
}

fn is_allowed(raft: &Raft<impl Storage>, m: &Message) -> bool {
    use MessageType::*;
    match m.get_msg_type() {
        // Proposals and transfers are made where the leader is, not sent to it.
        MsgHup | MsgBeat | MsgPropose | MsgUnreachable | MsgSnapStatus | MsgCheckQuorum
        | MsgTransferLeader => false,
        // Forwarded without a term.
        MsgReadIndex => m.term == 0 && m.entries.len() == 1 && raft.prs().get(m.from).is_some(),
        MsgReadIndexResp => m.term > 0 && m.entries.len() == 1,
        MsgTimeoutNow => m.term > 0 && raft.prs().get(m.from).is_some(),
        _ => m.term > 0,
    }
}

fn is_sound_append(raft: &Raft<impl Storage>, m: &Message) -> bool {
    if (m.index == 0) != (m.log_term == 0) || m.log_term > m.term {
        return false;
    }
    let mut previous = (m.index, m.log_term);
    for e in m.get_entries() {
        if e.index != previous.0 + 1 || e.term < previous.1 || e.term > m.term || e.term == 0 {
            return false;
        }
        // What is committed never changes.
        if m.term >= raft.term
            && e.index <= raft.raft_log.committed
            && e.index >= raft.raft_log.first_index()
            && !raft.raft_log.match_term(e.index, e.term)
        {
            return false;
        }
        previous = (e.index, e.term);
    }
    true
}

/// Whether `m` may be given to `raft`.
pub fn is_acceptable(raft: &Raft<impl Storage>, m: &Message) -> bool {
    if m.to != raft.id || m.from == 0 || m.from == raft.id {
        return false;
    }
    if m.term > TERM_MAX || m.index > INDEX_MAX || m.commit > INDEX_MAX {
        return false;
    }
    if !is_allowed(raft, m) {
        return false;
    }
    match m.get_msg_type() {
        MessageType::MsgAppend => is_sound_append(raft, m),
        MessageType::MsgHeartbeat => m.commit <= raft.raft_log.last_index(),
        MessageType::MsgAppendResponse if raft.state == StateRole::Leader => {
            let last = raft.raft_log.last_index();
            m.term != raft.term || (m.index <= last && m.reject_hint <= last)
        }
        MessageType::MsgSnapshot => {
            let meta = m.get_snapshot().get_metadata();
            meta.index > 0
                && meta.index <= INDEX_MAX
                && meta.term > 0
                && meta.term <= m.term
                && is_sound(meta.get_conf_state())
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::{Config, HardState, LogState, Membership, Outcome, ProposalRef};
    use crate::ffi::{Ready, Role, TermRun};
    use crate::node::{new_node, Node};
    use protobuf::Message as _;
    use raft::eraftpb::{Entry, Snapshot};

    /// Replica 1 of {1, 2, 3}: ten entries of term 1, six of them committed.
    fn follower() -> Box<Node> {
        let config = Config {
            group: 1,
            id: 1,
            seed: 1,
            applied: 6,
            heartbeat_ticks: 5,
            election_ticks_min: 30,
            election_ticks_max: 60,
            message_bytes_max: 1 << 20,
            inflight_messages_max: 16,
            committed_bytes_max: 1 << 20,
        };
        let state = LogState {
            hard_state: HardState { term: 1, vote: 0, commit: 6 },
            membership: Membership { voters: vec![1, 2, 3], ..Default::default() },
            truncated_index: 0,
            truncated_term: 0,
            last_index: 10,
            term_runs: vec![TermRun { first_index: 1, term: 1 }],
            conf_change_indexes: vec![],
        };
        new_node(&config, &state).ok().unwrap()
    }

    fn leader() -> Box<Node> {
        let mut node = follower();
        node.campaign();
        for kind in [
            MessageType::MsgRequestPreVoteResponse,
            MessageType::MsgRequestVoteResponse,
        ] {
            assert_eq!(step(&mut node, message(kind, 2)), Outcome::Ok);
            let mut ready = Ready::default();
            node.take_ready_to(&mut ready, &mut Vec::new(), &mut Vec::new());
            node.on_persisted(ready.number);
        }
        assert_eq!(node.status().role, Role::Leader);
        node
    }

    fn message(kind: MessageType, term: u64) -> Message {
        let mut m = Message::default();
        m.set_msg_type(kind);
        m.from = 2;
        m.to = 1;
        m.term = term;
        m
    }

    fn entry(index: u64, term: u64) -> Entry {
        let mut e = Entry::default();
        e.index = index;
        e.term = term;
        e
    }

    fn append(index: u64, log_term: u64, entries: Vec<Entry>) -> Message {
        let mut m = message(MessageType::MsgAppend, 2);
        m.index = index;
        m.log_term = log_term;
        m.set_entries(entries.into());
        m
    }

    fn step(node: &mut Node, m: Message) -> Outcome {
        node.step(&m.write_to_bytes().unwrap())
    }

    #[track_caller]
    fn refused(node: &mut Node, m: Message) {
        assert_eq!(step(node, m), Outcome::Refused);
        assert_eq!(node.error(), "");
    }

    #[test]
    fn garbage_is_refused() {
        let mut node = follower();
        assert_eq!(node.step(&[0xff, 0xff, 0xff]), Outcome::Refused);
        assert_eq!(node.step(&[]), Outcome::Refused);
    }

    #[test]
    fn local_and_forwarded_kinds_are_refused() {
        use MessageType::*;
        for kind in [
            MsgHup,
            MsgBeat,
            MsgPropose,
            MsgUnreachable,
            MsgSnapStatus,
            MsgCheckQuorum,
            MsgTransferLeader,
        ] {
            refused(&mut follower(), message(kind, 0));
            refused(&mut follower(), message(kind, 2));
            refused(&mut leader(), message(kind, 2));
        }
    }

    #[test]
    fn misdirected_messages_are_refused() {
        let mut m = message(MessageType::MsgHeartbeat, 2);
        m.to = 3;
        refused(&mut follower(), m);
        let mut m = message(MessageType::MsgHeartbeat, 2);
        m.from = 1;
        refused(&mut follower(), m);
        refused(&mut follower(), message(MessageType::MsgHeartbeat, TERM_MAX + 1));
    }

    #[test]
    fn heartbeat_beyond_the_log_is_refused() {
        let mut m = message(MessageType::MsgHeartbeat, 2);
        m.commit = 11;
        refused(&mut follower(), m.clone());
        m.commit = 10;
        assert_eq!(step(&mut follower(), m), Outcome::Ok);
    }

    #[test]
    fn malformed_appends_are_refused() {
        let mut node = follower();
        refused(&mut node, append(10, 1, vec![entry(12, 2)]));
        refused(&mut node, append(10, 1, vec![entry(11, 2), entry(13, 2)]));
        refused(&mut node, append(10, 1, vec![entry(11, 3)]));
        refused(&mut node, append(10, 2, vec![entry(11, 1)]));
        refused(&mut node, append(5, 1, vec![entry(6, 2)]));
        refused(&mut node, append(11, 0, vec![]));
        refused(&mut node, append(0, 1, vec![]));
        let mut stranger = append(10, 1, vec![entry(11, 1)]);
        stranger.term = 0;
        stranger.from = 9;
        refused(&mut node, stranger);
        assert_eq!(step(&mut node, append(10, 1, vec![entry(11, 2)])), Outcome::Ok);
        assert_eq!(step(&mut node, append(6, 1, vec![entry(7, 2)])), Outcome::Ok);
    }

    #[test]
    fn append_response_beyond_the_log_is_refused() {
        let mut node = leader();
        let mut m = message(MessageType::MsgAppendResponse, 2);
        m.index = 12;
        refused(&mut node, m.clone());
        m.index = 11;
        assert_eq!(step(&mut node, m.clone()), Outcome::Ok);
        m.reject = true;
        m.reject_hint = 12;
        refused(&mut node, m);
    }

    #[test]
    fn malformed_read_index_is_refused() {
        refused(&mut leader(), message(MessageType::MsgReadIndex, 0));
        refused(&mut follower(), message(MessageType::MsgReadIndex, 2));
        let mut m = message(MessageType::MsgReadIndex, 2);
        m.set_entries(vec![entry(0, 0)].into());
        refused(&mut follower(), m.clone());
        m.set_msg_type(MessageType::MsgReadIndexResp);
        m.term = 0;
        refused(&mut follower(), m);
        refused(&mut follower(), message(MessageType::MsgReadIndexResp, 2));
    }

    #[test]
    fn strangers_cannot_start_an_election() {
        let mut m = message(MessageType::MsgTimeoutNow, 1);
        m.from = 9;
        refused(&mut follower(), m);
    }

    #[test]
    fn unsound_snapshots_are_refused() {
        let with = |voters: &[u64], learners: &[u64]| {
            let mut m = message(MessageType::MsgSnapshot, 2);
            let mut s = Snapshot::default();
            s.mut_metadata().index = 20;
            s.mut_metadata().term = 2;
            s.mut_metadata().mut_conf_state().voters = voters.to_vec();
            s.mut_metadata().mut_conf_state().learners = learners.to_vec();
            m.set_snapshot(s);
            m
        };
        refused(&mut follower(), with(&[], &[1, 2]));
        refused(&mut follower(), with(&[1, 2], &[2]));
        refused(&mut follower(), with(&[1, 2, 2], &[]));
        refused(&mut follower(), message(MessageType::MsgSnapshot, 2));
        assert_eq!(step(&mut follower(), with(&[1, 2], &[3])), Outcome::Ok);
    }

    #[test]
    fn proposals_without_a_leader_are_dropped() {
        let proposal = ProposalRef { context: &[], data: &[1] };
        assert_eq!(follower().propose(&[proposal]), Outcome::Dropped);
        assert_eq!(follower().propose(&[]), Outcome::Ok);
    }

    #[test]
    fn a_panic_poisons_the_node_and_only_it() {
        let mut node = follower();
        assert_eq!(node.advance_apply(10), Outcome::Poisoned); // not committed
        assert!(node.error().contains("applied(10)"), "{}", node.error());
        assert_eq!(node.tick(), Outcome::Poisoned);
        assert_eq!(follower().tick(), Outcome::Ok);
    }
}
