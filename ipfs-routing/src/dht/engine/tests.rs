use bytes::Bytes;
use ipfs_traits::{Error, memory::peer_id};
use proptest::prelude::*;

use super::*;
use crate::dht::message::{Kind, MAX_CLOSER};

/// What is done to an engine.
#[derive(Clone, Debug)]
enum Step {
    Addresses(u64),
    Connected(Vec<u64>),
    Gone(u64),
    Candidate(u64),
    Client(u64),
    Start(u8, u64),
    /// The lookup that was begun so many before.
    Cancel(usize),
    Ask,
    /// The question that was asked so many before; the answer, or none.
    Reply(usize, Option<Answer>),
    /// Milliseconds.
    Wait(u64),
}

#[derive(Clone, Debug)]
struct Answer {
    closer: Vec<u64>,
    providers: Vec<u64>,
    value: Option<u8>,
    same_kind: bool,
}

/// Peers of a small world, so that they meet; 0 is the engine's own.
const PEERS: u64 = 60;

fn peers() -> impl Strategy<Value = Vec<u64>> {
    proptest::collection::vec(0..PEERS, 0..25)
}

fn answer() -> impl Strategy<Value = Answer> {
    (peers(), peers(), any::<Option<u8>>(), any::<bool>()).prop_map(
        |(closer, providers, value, same_kind)| Answer { closer, providers, value, same_kind },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0..PEERS).prop_map(Step::Addresses),
        1 => peers().prop_map(Step::Connected),
        1 => (0..PEERS).prop_map(Step::Gone),
        1 => (0..PEERS).prop_map(Step::Candidate),
        1 => (0..PEERS).prop_map(Step::Client),
        3 => (any::<u8>(), 0..PEERS).prop_map(|(what, number)| Step::Start(what, number)),
        1 => (0..8_usize).prop_map(Step::Cancel),
        8 => Just(Step::Ask),
        8 => (0..20_usize, proptest::option::weighted(0.8, answer()))
            .prop_map(|(which, answer)| Step::Reply(which, answer)),
        2 => (0..20_000_u64).prop_map(Step::Wait),
    ]
}

fn at(number: u64) -> PeerInfo {
    let address = match number % 5 {
        0 => return peer_id(number).into(),
        1 => "/ip4/10.0.0.1/tcp/1".into(),
        _ => format!("/ip4/8.{}.0.1/tcp/1", number % 40),
    };
    PeerInfo::new(peer_id(number), vec![address.parse().unwrap()])
}

fn find(what: u8, number: u64) -> Find {
    let key = Bytes::from(peer_id(number).to_bytes());
    let wanted = usize::from(what / 4);
    match what % 4 {
        0 => Find::Closest { key, wanted },
        1 => Find::Peer(peer_id(number)),
        2 => Find::Providers { key: *peer_id(number).as_ref(), wanted },
        _ => Find::Value { key, quorum: wanted },
    }
}

struct World {
    engine: Engine,
    now: Now,
    begun: Vec<LookupId>,
    cancelled: BTreeSet<LookupId>,
    done: BTreeSet<LookupId>,
    asked: Vec<Query>,
    /// Questions in all, of lookups and of the upkeep.
    questions: usize,
}

impl World {
    fn new(scope: Scope, paths: usize) -> Self {
        let (start, wall) = (Instant::now(), SystemTime::UNIX_EPOCH);
        let mut config = Config::new(scope);
        config.paths = paths;
        Self {
            engine: Engine::new(peer_id(0), config, [7; 32], start),
            now: Now { instant: start, wall },
            begun: Vec::new(),
            cancelled: BTreeSet::new(),
            done: BTreeSet::new(),
            asked: Vec::new(),
            questions: 0,
        }
    }

    fn step(&mut self, step: Step) {
        let now = self.now.instant;
        match step {
            Step::Addresses(n) => self.engine.handle_addresses(peer_id(n), &at(n).addresses),
            Step::Connected(all) => {
                self.engine.handle_connected(&all.into_iter().map(peer_id).collect());
            }
            Step::Gone(n) => self.engine.handle_gone(&peer_id(n)),
            Step::Candidate(n) => self.engine.handle_candidate(at(n)),
            Step::Client(n) => self.engine.handle_client(&peer_id(n)),
            Step::Start(what, n) => self.begun.push(self.engine.start(find(what, n), now)),
            Step::Cancel(back) => {
                if let Some(id) = self.begun.iter().rev().nth(back) {
                    self.engine.cancel(*id);
                    self.cancelled.insert(*id);
                }
            }
            Step::Ask => self.ask(),
            Step::Reply(which, answer) => self.reply(which, answer),
            Step::Wait(time) => self.wait(Duration::from_millis(time)),
        }
        self.look();
    }

    fn ask(&mut self) {
        if let Some(query) = self.engine.poll_query(self.now.instant) {
            assert_ne!(query.peer.id, peer_id(0), "it asks itself");
            self.questions += 1;
            self.asked.push(query);
        }
    }

    fn reply(&mut self, which: usize, answer: Option<Answer>) {
        if self.asked.is_empty() {
            return;
        }
        let query = self.asked.remove(which % self.asked.len());
        let reply = answer.ok_or(Error::TimedOut("an answer")).map(|answer| {
            let kind = if answer.same_kind { query.request.kind } else { Kind::Ping };
            let mut message = Message::new(kind, query.request.key.clone());
            if let Some(value) = answer.value {
                message = Message::with_value(kind, query.request.key, vec![value].into());
            }
            message.closer = answer.closer.into_iter().take(MAX_CLOSER).map(at).collect();
            message.providers = answer.providers.into_iter().map(at).collect();
            message
        });
        self.engine.handle_reply(query.id, reply.clone(), self.now);
        // A second answer to the same question is none.
        self.engine.handle_reply(query.id, reply, self.now);
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now.instant + time;
        for _ in 0..10_000 {
            let due = self.engine.poll_timeout();
            if due > until {
                self.pass(until);
                return;
            }
            self.pass(due.max(self.now.instant));
            self.engine.handle_timeout(self.now.instant);
        }
        panic!("it wakes without end");
    }

    fn pass(&mut self, to: Instant) {
        self.now.wall += to - self.now.instant;
        self.now.instant = to;
    }

    /// Reads what was found, and sees that what must hold holds.
    fn look(&mut self) {
        while let Some((id, event)) = self.engine.poll_event() {
            assert!(!self.cancelled.contains(&id), "it tells of what was cancelled");
            assert!(self.begun.contains(&id), "it tells of its own lookups");
            assert!(!self.done.contains(&id), "it tells more after the end");
            if let Event::Done(outcome) = event {
                self.done.insert(id);
                assert!(outcome.closest.iter().all(|peer| peer.id != peer_id(0)));
            }
        }
        assert!(self.engine.peers().iter().all(|peer| peer.id != peer_id(0)));
        assert!(self.engine.lookups.len() <= self.begun.len() + 17);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes in in whatever order: no panic, no waking without end, nothing told of what is
    /// over; and every lookup ends by itself, after a bounded number of questions.
    #[test]
    fn any_calls_are_borne_and_every_lookup_ends(
        wide: bool,
        paths in 1..4_usize,
        steps in proptest::collection::vec(step(), 0..150),
    ) {
        let mut world = World::new(if wide { Scope::Wan } else { Scope::Any }, paths);
        steps.into_iter().for_each(|step| world.step(step));
        // Nobody answers any more.
        for _ in 0..70 {
            for _ in 0..64 {
                world.ask();
            }
            world.wait(Duration::from_secs(1));
            world.look();
        }
        for id in &world.begun {
            prop_assert!(world.done.contains(id) || world.cancelled.contains(id));
        }
        prop_assert!(world.engine.lookups.keys().all(|id| world.engine.upkeep.is_own(id)));
        let lookups = world.engine.stats().lookups as usize;
        let most = lookups * PEERS as usize + 2 * PEERS as usize;
        prop_assert!(world.questions <= most, "{} questions of {lookups}", world.questions);
    }
}

/// Others go on naming a peer that is gone: each lookup dialed it again, and waited for it.
#[test]
fn who_is_gone_is_not_asked_again_at_once() {
    let now = Now { instant: Instant::now(), wall: SystemTime::UNIX_EPOCH };
    let mut engine = Engine::new(peer_id(0), Config::new(Scope::Any), [7; 32], now.instant);
    engine.handle_candidate(peer_id(1).into());
    let check = engine.poll_query(now.instant).unwrap();
    engine.handle_reply(check.id, Ok(Message::new(Kind::FindNode, "")), now);

    let gone =
        |place: u64| PeerInfo::new(peer_id(2), vec![format!("/memory/{place}").parse().unwrap()]);
    // Whom a lookup asks when peer 1 names the one that is gone there.
    let mut asked = |place: u64, now: Now| {
        engine.start(Find::Closest { key: "key".into(), wanted: 20 }, now.instant);
        let first = engine.poll_query(now.instant).unwrap();
        assert_eq!(first.peer.id, peer_id(1));
        let mut answer = Message::new(Kind::FindNode, "key");
        answer.closer.push(gone(place));
        engine.handle_reply(first.id, Ok(answer), now);
        let second = engine.poll_query(now.instant);
        if let Some(query) = &second {
            engine.handle_reply(query.id, Err(Error::TimedOut("an answer")), now);
        }
        second.is_some()
    };
    assert!(asked(1, now));
    assert!(!asked(1, now));
    assert!(asked(9, now), "it is said to be elsewhere");
    let later = Now { instant: now.instant + Duration::from_secs(61), ..now };
    assert!(asked(1, later));
}
