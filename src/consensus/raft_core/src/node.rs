//! One replica of one group: raft-rs with its panics caught, its randomness
//! replaced and the guards it lacks. No policy beyond that.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::Once;

use cxx::CxxString;
use protobuf::Message as _;
use raft::eraftpb::{ConfChangeV2, ConfState, Entry, Message, MessageType, Snapshot};
use raft::{Config as RaftConfig, RawNode, SnapshotStatus, StateRole};
use slog::{o, Discard, Logger};

use crate::checks;
use crate::codec;
use crate::ffi::{
    Config, Fetch, HardState, LogState, Membership, OutMessage, Outcome, Progress, ProposalRef,
    ReadState, Ready, Role, Status,
};
use crate::log_cache::LogCache;
use crate::membership::{changes_to, from_conf_state, to_conf_state};

pub struct Node {
    raw: RawNode<LogCache>,
    timeouts: Timeouts,
    /// The last Ready that changed term or vote, and the last one on disk.
    vote_ready: u64,
    persisted_ready: u64,
    vote_taken: (u64, u64),
    error: Option<String>,
}

/// Election timeouts as a pure function of who asks and how often, so that a run
/// repeats from its seed. raft-rs draws its own at every reset, hence `pin`.
struct Timeouts {
    seed: u64,
    min: usize,
    max: usize,
    campaigns: u64,
}

fn mix(a: u64, b: u64) -> u64 {
    // splitmix64's finaliser over the sum with a golden-ratio step.
    let mut z = a.wrapping_add(b.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Timeouts {
    fn at(&self, term: u64) -> usize {
        let draw = mix(mix(self.seed, term + 1), self.campaigns + 1);
        self.min + (draw % (self.max - self.min) as u64) as usize
    }
}

fn from_hard_state(hs: &raft::eraftpb::HardState) -> HardState {
    HardState { term: hs.term, vote: hs.vote, commit: hs.commit }
}

fn panic_text(payload: Box<dyn Any + Send>) -> String {
    if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else if let Some(text) = payload.downcast_ref::<&str>() {
        text.to_string()
    } else {
        "panic without a message".to_string()
    }
}

fn check_state(config: &Config, state: &LogState) -> Result<(), String> {
    let hs = &state.hard_state;
    if hs.commit > state.last_index {
        return Err(format!(
            "the log ends at {} but {} is known to be committed",
            state.last_index, hs.commit
        ));
    }
    if hs.commit < state.truncated_index || config.applied > hs.commit {
        return Err(format!(
            "truncated {}, applied {} and committed {} are out of order",
            state.truncated_index, config.applied, hs.commit
        ));
    }
    if config.applied < state.truncated_index {
        return Err(format!(
            "applied up to {}, but the log begins after {}",
            config.applied, state.truncated_index
        ));
    }
    let mut last = (state.truncated_index, 0);
    for run in &state.term_runs {
        if run.first_index <= last.0 && last.1 != 0 || run.term <= last.1 {
            return Err("its terms are out of order".to_string());
        }
        last = (run.first_index, run.term);
    }
    let has_entries = state.last_index > state.truncated_index;
    let first_run = state.term_runs.first().map(|r| r.first_index);
    if has_entries != (first_run == Some(state.truncated_index + 1)) || last.0 > state.last_index {
        return Err("its terms do not cover its entries".to_string());
    }
    let cs = to_conf_state(&state.membership);
    if cs != ConfState::default() && !checks::is_sound(&cs) {
        return Err(format!("membership {:?} is unsound", state.membership));
    }
    Ok(())
}

pub fn new_node(config: &Config, state: &LogState) -> Result<Box<Node>, String> {
    // Panics are answered with a status; nothing is to be printed for them.
    static SILENCE: Once = Once::new();
    SILENCE.call_once(|| std::panic::set_hook(Box::new(|_| {})));

    check_state(config, state)?;
    let mut hs = raft::eraftpb::HardState::default();
    hs.term = state.hard_state.term;
    hs.vote = state.hard_state.vote;
    hs.commit = state.hard_state.commit;
    let conf_changes: BTreeMap<_, _> = state
        .conf_change_indexes
        .iter()
        .map(|i| (*i, raft::eraftpb::EntryType::EntryConfChangeV2))
        .collect();
    let cache = LogCache::new(
        hs,
        to_conf_state(&state.membership),
        (state.truncated_index, state.truncated_term),
        state.last_index,
        state.term_runs.iter().map(|r| (r.first_index, r.term)).collect(),
        conf_changes,
    );
    let raft_config = RaftConfig {
        id: config.id,
        applied: config.applied,
        election_tick: config.election_ticks_min,
        heartbeat_tick: config.heartbeat_ticks,
        min_election_tick: config.election_ticks_min,
        max_election_tick: config.election_ticks_max,
        max_size_per_msg: config.message_bytes_max,
        max_inflight_msgs: config.inflight_messages_max,
        max_committed_size_per_ready: config.committed_bytes_max,
        check_quorum: true,
        pre_vote: true,
        batch_append: true,
        ..Default::default()
    };
    let logger = Logger::root(Discard, o!());
    let raw = catch_unwind(AssertUnwindSafe(|| RawNode::new(&raft_config, cache, &logger)))
        .map_err(panic_text)?
        .map_err(|e| e.to_string())?;
    let seed = mix(mix(mix(config.seed, config.group), config.id), 1);
    let vote_taken = (state.hard_state.term, state.hard_state.vote);
    let mut node = Box::new(Node {
        raw,
        timeouts: Timeouts {
            seed,
            min: config.election_ticks_min,
            max: config.election_ticks_max,
            campaigns: 0,
        },
        vote_ready: 0,
        persisted_ready: 0,
        vote_taken,
        error: None,
    });
    node.pin_timeout();
    Ok(node)
}

fn encode_messages(messages: Vec<Message>, out: &mut Vec<OutMessage>) {
    for m in messages {
        out.push(OutMessage {
            to: m.to,
            is_snapshot: m.get_msg_type() == MessageType::MsgSnapshot,
            bytes: m.write_to_bytes().expect("a message of raft-rs encodes"),
        });
    }
}

impl Node {
    /// Runs `f` unless an earlier call panicked; notes if this one does.
    fn guard(&mut self, f: impl FnOnce(&mut Node) -> Outcome) -> Outcome {
        if self.error.is_some() {
            return Outcome::Poisoned;
        }
        match catch_unwind(AssertUnwindSafe(|| {
            let outcome = f(self);
            self.pin_timeout();
            outcome
        })) {
            Ok(outcome) => outcome,
            Err(payload) => {
                self.error = Some(panic_text(payload));
                Outcome::Poisoned
            }
        }
    }

    fn pin_timeout(&mut self) {
        let timeout = self.timeouts.at(self.raw.raft.term);
        self.raw.raft.set_randomized_election_timeout(timeout);
    }

    pub fn error(&self) -> String {
        self.error.clone().unwrap_or_default()
    }

    pub fn step(&mut self, bytes: &[u8]) -> Outcome {
        self.guard(|node| {
            let Ok(message) = Message::parse_from_bytes(bytes) else {
                return Outcome::Refused;
            };
            if !checks::is_acceptable(&node.raw.raft, &message) {
                return Outcome::Refused;
            }
            match node.raw.step(message) {
                Ok(()) => Outcome::Ok,
                Err(_) => Outcome::Dropped,
            }
        })
    }

    pub fn tick(&mut self) -> Outcome {
        self.guard(|node| {
            let was_leader = node.raw.raft.state == StateRole::Leader;
            // `become_leader` needs the whole log on disk, and a sole voter becomes
            // one at once. The timeout stays expired until then.
            if !was_leader && !node.may_campaign() {
                return Outcome::Ok;
            }
            if node.raw.tick() && !was_leader {
                node.timeouts.campaigns += 1;
            }
            Outcome::Ok
        })
    }

    fn may_campaign(&self) -> bool {
        let raft = &self.raw.raft;
        !raft.prs().is_singleton() || raft.raft_log.persisted == raft.raft_log.last_index()
    }

    pub fn campaign(&mut self) -> Outcome {
        self.guard(|node| {
            if !node.raw.raft.promotable() || !node.may_campaign() {
                return Outcome::Dropped;
            }
            node.timeouts.campaigns += 1;
            match node.raw.campaign() {
                Ok(()) => Outcome::Ok,
                Err(_) => Outcome::Dropped,
            }
        })
    }

    /// Stops believing in the leader (it crashed); term and vote stay. Ends the
    /// lease, so that pre-votes of others are heard.
    pub fn forget_leader(&mut self) -> Outcome {
        self.guard(|node| {
            if node.raw.raft.state == StateRole::Follower {
                node.raw.raft.leader_id = raft::INVALID_ID;
            }
            Outcome::Ok
        })
    }

    pub fn ping(&mut self) -> Outcome {
        self.guard(|node| {
            node.raw.ping();
            Outcome::Ok
        })
    }

    /// All or none; they get consecutive indexes.
    pub fn propose(&mut self, proposals: &[ProposalRef]) -> Outcome {
        self.guard(|node| {
            if proposals.is_empty() {
                return Outcome::Ok;
            }
            // A follower would forward it; answers come from the leader only.
            if node.raw.raft.state != StateRole::Leader {
                return Outcome::Dropped;
            }
            let mut message = Message::default();
            message.set_msg_type(MessageType::MsgPropose);
            message.from = node.raw.raft.id;
            for p in proposals {
                let mut entry = Entry::default();
                entry.context = p.context.to_vec().into();
                entry.data = p.data.to_vec().into();
                message.mut_entries().push(entry);
            }
            match node.raw.raft.step(message) {
                Ok(()) => Outcome::Ok,
                Err(_) => Outcome::Dropped,
            }
        })
    }

    pub fn propose_membership(&mut self, target: &Membership, context: &[u8]) -> Outcome {
        self.guard(|node| {
            let raft = &node.raw.raft;
            let current = from_conf_state(&raft.prs().conf().to_conf_state());
            if !checks::is_sound(&to_conf_state(target)) {
                return Outcome::Refused;
            }
            // raft-rs would turn the change into an empty entry.
            if raft.state != StateRole::Leader
                || raft.has_pending_conf()
                || !current.voters_outgoing.is_empty()
            {
                return Outcome::Dropped;
            }
            let changes = changes_to(&current, target);
            if changes.is_empty() {
                return Outcome::Refused;
            }
            let mut change = ConfChangeV2::default();
            change.set_changes(changes.into());
            change.set_context(context.to_vec().into());
            match node.raw.propose_conf_change(vec![], change) {
                Ok(()) => Outcome::Ok,
                Err(_) => Outcome::Dropped,
            }
        })
    }

    pub fn read_index(&mut self, context: &[u8]) -> Outcome {
        self.guard(|node| {
            let raft = &node.raw.raft;
            if raft.leader_id == raft::INVALID_ID
                || (raft.state == StateRole::Leader && !raft.commit_to_current_term())
            {
                return Outcome::Dropped;
            }
            node.raw.read_index(context.to_vec());
            Outcome::Ok
        })
    }

    pub fn transfer_leader(&mut self, to: u64) -> Outcome {
        self.guard(|node| {
            let raft = &node.raw.raft;
            if raft.state != StateRole::Leader || !raft.prs().conf().voters().contains(to) {
                return Outcome::Dropped;
            }
            node.raw.transfer_leader(to);
            Outcome::Ok
        })
    }

    /// A leader that the membership no longer has as a voter would go on leading
    /// and commit nothing: it hands over to the best voter and stops.
    pub fn step_down_removed(&mut self) -> Outcome {
        self.guard(|node| {
            let raft = &mut node.raw.raft;
            if raft.state != StateRole::Leader || raft.promotable() {
                return Outcome::Dropped;
            }
            let best = raft
                .prs()
                .iter()
                .filter(|(id, _)| raft.prs().conf().voters().contains(**id))
                .max_by_key(|(id, p)| (p.matched, **id))
                .map(|(id, _)| *id);
            if let Some(best) = best {
                raft.send_timeout_now(best);
            }
            let term = raft.term;
            raft.become_follower(term, raft::INVALID_ID);
            Outcome::Ok
        })
    }

    pub fn report_unreachable(&mut self, id: u64) -> Outcome {
        self.guard(|node| {
            node.raw.report_unreachable(id);
            Outcome::Ok
        })
    }

    pub fn report_snapshot(&mut self, id: u64, ok: bool) -> Outcome {
        self.guard(|node| {
            let status = if ok { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
            node.raw.report_snapshot(id, status);
            Outcome::Ok
        })
    }

    pub fn has_ready(&self) -> bool {
        self.error.is_none() && self.raw.has_ready()
    }

    /// `entry_bytes` and `committed_bytes` take the entries' data.
    pub fn take_ready(
        &mut self,
        out: &mut Ready,
        mut entry_bytes: Pin<&mut CxxString>,
        mut committed_bytes: Pin<&mut CxxString>,
    ) -> Outcome {
        self.take_ready_to(out, &mut entry_bytes, &mut committed_bytes)
    }

    pub fn take_ready_to(
        &mut self,
        out: &mut Ready,
        entry_bytes: &mut impl codec::Sink,
        committed_bytes: &mut impl codec::Sink,
    ) -> Outcome {
        self.guard(|node| {
            let mut rd = node.raw.ready();
            out.number = rd.number();
            out.must_sync = rd.must_sync();
            out.has_hard_state = rd.hs().is_some();
            if let Some(hs) = rd.hs() {
                out.hard_state = from_hard_state(hs);
                node.raw.mut_store().hard_state = hs.clone();
                if (hs.term, hs.vote) != node.vote_taken {
                    node.vote_taken = (hs.term, hs.vote);
                    node.vote_ready = out.number;
                }
            }
            out.has_snapshot = !rd.snapshot().is_empty();
            if out.has_snapshot {
                let snapshot = rd.snapshot().clone();
                let meta = snapshot.get_metadata();
                out.snapshot_index = meta.index;
                out.snapshot_term = meta.term;
                out.snapshot_membership = from_conf_state(meta.get_conf_state());
                out.snapshot_data = snapshot.data.to_vec();
                node.raw.mut_store().restore(&snapshot);
            }
            let entries = rd.take_entries();
            out.entries_first = entries.first().map_or(0, |e| e.index);
            out.entries_count = entries.len() as u64;
            codec::encode(&entries, entry_bytes);
            node.raw.mut_store().append(&entries);

            let committed = rd.take_committed_entries();
            out.committed_first = committed.first().map_or(0, |e| e.index);
            out.committed_last = committed.last().map_or(0, |e| e.index);
            out.committed_in_memory =
                !committed.is_empty() && node.raw.store().is_in_memory(out.committed_first);
            if out.committed_in_memory {
                codec::encode(&committed, committed_bytes);
            }
            encode_messages(rd.take_messages(), &mut out.messages);
            // A follower's messages wait for the disk. Its heartbeat responses need
            // not, as long as the term they are given in is on disk: a slow disk is
            // not a dead process.
            let (early, late) = rd
                .take_persisted_messages()
                .into_iter()
                .partition(|m| node.is_early(m));
            encode_messages(early, &mut out.messages);
            encode_messages(late, &mut out.messages_after_persist);
            out.read_states = rd
                .take_read_states()
                .into_iter()
                .map(|r| ReadState { index: r.index, context: r.request_ctx })
                .collect();
            node.raw.advance_append_async(rd);
            Outcome::Ok
        })
    }

    fn is_early(&self, m: &Message) -> bool {
        m.get_msg_type() == MessageType::MsgHeartbeatResponse
            && self.vote_ready <= self.persisted_ready
    }

    /// While no Ready may be taken (a snapshot is being restored): what can be sent
    /// all the same. Everything else that raft-rs wanted to send is dropped.
    pub fn take_heartbeat_responses(&mut self, out: &mut Vec<OutMessage>) {
        self.guard(|node| {
            let messages = std::mem::take(&mut node.raw.raft.msgs);
            let (term, vote) = (node.raw.raft.term, node.raw.raft.vote);
            if (term, vote) == node.vote_taken {
                let early = messages.into_iter().filter(|m| node.is_early(m)).collect();
                encode_messages(early, out);
            }
            Outcome::Ok
        });
    }

    pub fn on_persisted(&mut self, number: u64) -> Outcome {
        self.guard(|node| {
            node.persisted_ready = number;
            node.raw.on_persist_ready(number);
            Outcome::Ok
        })
    }

    pub fn advance_apply(&mut self, index: u64) -> Outcome {
        self.guard(|node| {
            let last = node.raw.raft.raft_log.last_index();
            node.raw.advance_apply_to(index);
            // Leaving a joint membership appends an entry but does not send it.
            if node.raw.raft.raft_log.last_index() > last {
                node.raw.raft.bcast_append();
            }
            Outcome::Ok
        })
    }

    pub fn apply_conf_change(
        &mut self,
        data: &[u8],
        membership: &mut Membership,
        context: &mut Vec<u8>,
    ) -> Outcome {
        self.guard(|node| {
            let Ok(change) = ConfChangeV2::parse_from_bytes(data) else {
                return Outcome::Refused;
            };
            *context = change.get_context().to_vec();
            match node.raw.apply_conf_change(&change) {
                Ok(cs) => {
                    node.raw.mut_store().conf_state = cs.clone();
                    *membership = from_conf_state(&cs);
                    Outcome::Ok
                }
                // The changer refuses the same change on every replica.
                Err(_) => Outcome::Refused,
            }
        })
    }

    pub fn take_fetches(&mut self) -> Vec<Fetch> {
        self.raw
            .mut_store()
            .take_fetches()
            .into_iter()
            .map(|f| Fetch {
                id: f.id,
                first_index: f.first_index,
                last_index: f.last_index,
                bytes_max: f.bytes_max,
            })
            .collect()
    }

    /// Empty `entries`: they could not be read (truncated meanwhile); raft-rs asks
    /// again or sends a snapshot.
    pub fn on_fetched(&mut self, id: u64, first_index: u64, entries: &[u8]) -> Outcome {
        self.guard(|node| {
            let Some(entries) = codec::decode(first_index, entries) else {
                return Outcome::Refused;
            };
            if let Some(context) = node.raw.mut_store().begin_fetched(id, entries) {
                node.raw.on_entries_fetched(context);
                node.raw.mut_store().end_fetch();
            }
            Outcome::Ok
        })
    }

    pub fn evict(&mut self, bytes_max: usize) {
        let applied = self.raw.raft.raft_log.applied;
        self.raw.mut_store().evict(applied, bytes_max);
    }

    pub fn truncate(&mut self, index: u64) -> Outcome {
        self.guard(|node| {
            if index > node.raw.raft.raft_log.applied {
                return Outcome::Refused;
            }
            node.raw.mut_store().truncate(index);
            Outcome::Ok
        })
    }

    pub fn take_snapshot_wanted(&mut self) -> bool {
        self.raw.mut_store().take_snapshot_wanted()
    }

    pub fn offer_snapshot(&mut self, index: u64, m: &Membership, data: &[u8]) -> Outcome {
        self.guard(|node| {
            let Some(term) = node.raw.store().term_at(index) else {
                return Outcome::Refused;
            };
            let mut snapshot = Snapshot::default();
            snapshot.data = data.to_vec().into();
            let meta = snapshot.mut_metadata();
            meta.index = index;
            meta.term = term;
            meta.set_conf_state(to_conf_state(m));
            node.raw.mut_store().snapshot = Some(snapshot);
            Outcome::Ok
        })
    }

    pub fn withdraw_snapshot(&mut self) {
        self.raw.mut_store().snapshot = None;
    }

    /// 0 where unknown.
    pub fn term_at(&self, index: u64) -> u64 {
        self.raw.store().term_at(index).unwrap_or(0)
    }

    pub fn status(&self) -> Status {
        let raft = &self.raw.raft;
        let log = &raft.raft_log;
        let store = self.raw.store();
        Status {
            role: match raft.state {
                StateRole::Follower => Role::Follower,
                StateRole::PreCandidate => Role::PreCandidate,
                StateRole::Candidate => Role::Candidate,
                StateRole::Leader => Role::Leader,
            },
            term: raft.term,
            vote: raft.vote,
            leader: raft.leader_id,
            first_index: raft::Storage::first_index(store).unwrap_or(0),
            last_index: log.last_index(),
            committed: log.committed,
            persisted: log.persisted,
            applied: log.applied,
            is_sole_voter: raft.prs().is_singleton() && raft.promotable(),
            is_promotable: raft.promotable(),
            is_joint: !raft.prs().conf().to_conf_state().voters_outgoing.is_empty(),
            has_pending_conf: raft.has_pending_conf(),
            is_transferring: raft.lead_transferee.is_some(),
            has_committed_in_term: self.error.is_none() && raft.commit_to_current_term(),
        }
    }

    pub fn progress(&self) -> Vec<Progress> {
        let mut all: Vec<_> = self
            .raw
            .raft
            .prs()
            .iter()
            .map(|(id, p)| Progress {
                id: *id,
                matched: p.matched,
                next: p.next_idx,
                recent_active: p.recent_active,
                is_snapshot: p.state == raft::ProgressState::Snapshot,
            })
            .collect();
        all.sort_by_key(|p| p.id);
        all
    }

    pub fn membership(&self) -> Membership {
        from_conf_state(&self.raw.raft.prs().conf().to_conf_state())
    }
}
