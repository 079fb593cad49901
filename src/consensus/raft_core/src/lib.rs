//! raft-rs for one Raft group, as C++ sees it: no I/O, no clock, no randomness.
//!
//! `node` drives raft-rs and turns panics into a poisoned group; `log_cache` is
//! the `Storage` it works on; `checks` refuses the messages that would make it
//! panic or misbehave; `codec` is the byte form of entries that crosses the
//! boundary and that the log keeps.

mod checks;
mod codec;
mod log_cache;
mod membership;
mod node;

use membership::encode_addition;
use node::{new_node, Node};

#[cxx::bridge(namespace = "vectron::consensus::core")]
mod ffi {
    /// How a call went.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Outcome {
        Ok,
        /// Raft did not take it now (no leader, transfer under way). Nothing happened.
        Dropped,
        /// The message is malformed or not for us. Nothing happened.
        Refused,
        /// raft-rs panicked, now or earlier. The group can only be discarded.
        Poisoned,
    }

    #[derive(Debug, Clone, PartialEq)]
    enum Role {
        Follower,
        PreCandidate,
        Candidate,
        Leader,
    }

    struct Config {
        group: u64,
        id: u64,
        seed: u64,
        applied: u64,
        heartbeat_ticks: usize,
        election_ticks_min: usize,
        election_ticks_max: usize,
        message_bytes_max: u64,
        inflight_messages_max: usize,
        committed_bytes_max: u64,
    }

    #[derive(Debug, Clone, Default, PartialEq)]
    struct HardState {
        term: u64,
        vote: u64,
        commit: u64,
    }

    #[derive(Debug, Clone, Default)]
    struct Membership {
        voters: Vec<u64>,
        learners: Vec<u64>,
        voters_outgoing: Vec<u64>,
        learners_next: Vec<u64>,
        auto_leave: bool,
    }

    /// Entries from `first_index` up to the next run are of `term`.
    #[derive(Debug, Clone)]
    struct TermRun {
        first_index: u64,
        term: u64,
    }

    /// What the log on disk holds.
    struct LogState {
        hard_state: HardState,
        membership: Membership,
        truncated_index: u64,
        truncated_term: u64,
        last_index: u64,
        term_runs: Vec<TermRun>,
        conf_change_indexes: Vec<u64>,
    }

    struct ProposalRef<'a> {
        context: &'a [u8],
        data: &'a [u8],
    }

    struct OutMessage {
        to: u64,
        is_snapshot: bool,
        bytes: Vec<u8>,
    }

    struct ReadState {
        index: u64,
        context: Vec<u8>,
    }

    /// Entries that a lagging follower needs and memory no longer has.
    struct Fetch {
        id: u64,
        first_index: u64,
        last_index: u64,
        bytes_max: u64,
    }

    /// raft-rs's Ready; see `raw_node.h`.
    #[derive(Default)]
    struct Ready {
        number: u64,
        must_sync: bool,
        has_hard_state: bool,
        hard_state: HardState,
        entries_first: u64,
        entries_count: u64,
        committed_first: u64,
        committed_last: u64,
        committed_in_memory: bool,
        messages: Vec<OutMessage>,
        messages_after_persist: Vec<OutMessage>,
        read_states: Vec<ReadState>,
        has_snapshot: bool,
        snapshot_index: u64,
        snapshot_term: u64,
        snapshot_membership: Membership,
        snapshot_data: Vec<u8>,
    }

    struct Progress {
        id: u64,
        matched: u64,
        next: u64,
        recent_active: bool,
        is_snapshot: bool,
    }

    struct Status {
        role: Role,
        term: u64,
        vote: u64,
        leader: u64,
        first_index: u64,
        last_index: u64,
        committed: u64,
        persisted: u64,
        applied: u64,
        is_sole_voter: bool,
        is_promotable: bool,
        is_joint: bool,
        has_pending_conf: bool,
        is_transferring: bool,
        has_committed_in_term: bool,
    }

    extern "Rust" {
        type Node;

        /// Fails with a message where the log's state makes no sense.
        fn new_node(config: &Config, state: &LogState) -> Result<Box<Node>>;
        /// Why the group is poisoned.
        fn error(self: &Node) -> String;

        fn step(self: &mut Node, message: &[u8]) -> Outcome;
        fn tick(self: &mut Node) -> Outcome;
        fn campaign(self: &mut Node) -> Outcome;
        fn forget_leader(self: &mut Node) -> Outcome;
        fn ping(self: &mut Node) -> Outcome;
        fn propose(self: &mut Node, proposals: &[ProposalRef]) -> Outcome;
        fn propose_membership(self: &mut Node, target: &Membership, context: &[u8]) -> Outcome;
        fn read_index(self: &mut Node, context: &[u8]) -> Outcome;
        fn transfer_leader(self: &mut Node, to: u64) -> Outcome;
        fn step_down_removed(self: &mut Node) -> Outcome;
        fn report_unreachable(self: &mut Node, id: u64) -> Outcome;
        fn report_snapshot(self: &mut Node, id: u64, ok: bool) -> Outcome;

        fn has_ready(self: &Node) -> bool;
        fn take_ready(
            self: &mut Node,
            ready: &mut Ready,
            entry_bytes: Pin<&mut CxxString>,
            committed_bytes: Pin<&mut CxxString>,
        ) -> Outcome;
        fn take_heartbeat_responses(self: &mut Node, messages: &mut Vec<OutMessage>);
        fn on_persisted(self: &mut Node, number: u64) -> Outcome;
        fn advance_apply(self: &mut Node, index: u64) -> Outcome;
        fn apply_conf_change(
            self: &mut Node,
            data: &[u8],
            membership: &mut Membership,
            context: &mut Vec<u8>,
        ) -> Outcome;

        fn take_fetches(self: &mut Node) -> Vec<Fetch>;
        fn on_fetched(self: &mut Node, id: u64, first_index: u64, entries: &[u8]) -> Outcome;
        fn evict(self: &mut Node, bytes_max: usize);
        fn truncate(self: &mut Node, index: u64) -> Outcome;

        fn take_snapshot_wanted(self: &mut Node) -> bool;
        fn offer_snapshot(
            self: &mut Node,
            index: u64,
            membership: &Membership,
            data: &[u8],
        ) -> Outcome;
        fn withdraw_snapshot(self: &mut Node);

        fn term_at(self: &Node, index: u64) -> u64;
        fn status(self: &Node) -> Status;
        fn progress(self: &Node) -> Vec<Progress>;
        fn membership(self: &Node) -> Membership;
        /// The data of an entry that adds a voter or a learner.
        fn encode_addition(id: u64, learner: bool, context: &[u8]) -> Vec<u8>;
    }
}
