use ipfs_traits::memory::peer_id;

use super::*;

const SETTINGS: Settings = Settings {
    scope: Scope::Any,
    wanted: 3,
    parallel: 2,
    paths: 1,
    patience: Duration::from_secs(3),
};

fn target() -> Position {
    Position::of_key(b"target")
}

/// Peers `0..n`, the nearest to the target first.
fn peers(n: u64) -> Vec<PeerInfo> {
    let mut peers: Vec<PeerInfo> = (0..n).map(|number| peer_id(number).into()).collect();
    peers.sort_by_key(|peer| Position::of_peer(&peer.id).distance(&target()));
    peers
}

#[test]
fn it_ends_when_the_nearest_have_answered() {
    let (peers, now) = (peers(20), Instant::now());
    let mut lookup = Lookup::new(target(), SETTINGS, peers[10..14].to_vec());
    assert_eq!(lookup.next(now), Some(peers[10].clone()));
    assert_eq!(lookup.next(now), Some(peers[11].clone()));
    assert_eq!(lookup.next(now), None, "two are asked at once");
    lookup.answered(&peers[10].id, peers[..4].to_vec());
    assert!(!lookup.is_done());
    assert_eq!(lookup.next(now), Some(peers[0].clone()));
    lookup.failed(&peers[0].id);
    for expected in [1, 2] {
        lookup.failed(&peers[11].id); // late, and of no use any more
        assert_eq!(lookup.next(now), Some(peers[expected].clone()));
        lookup.answered(&peers[expected].id, Vec::new());
        assert!(!lookup.is_done());
    }
    assert_eq!(lookup.next(now), Some(peers[3].clone()));
    lookup.answered(&peers[3].id, Vec::new());
    assert!(lookup.is_done());
    assert_eq!(lookup.closest(), peers[1..4]);
    assert_eq!((lookup.asked(), lookup.hops()), (6, 2));
}

#[test]
fn the_slow_are_not_waited_for_and_still_heard() {
    let (peers, now) = (peers(4), Instant::now());
    let mut lookup = Lookup::new(target(), SETTINGS, peers[..3].to_vec());
    lookup.next(now);
    lookup.next(now);
    lookup.answered(&peers[1].id, Vec::new());
    lookup.next(now);
    lookup.answered(&peers[2].id, Vec::new());
    assert_eq!(lookup.timeout(), Some(now + SETTINGS.patience));
    lookup.expire(now + SETTINGS.patience - Duration::from_millis(1));
    assert!(!lookup.is_done());
    lookup.expire(now + SETTINGS.patience);
    assert!(lookup.is_done());
    lookup.answered(&peers[0].id, vec![peers[3].clone()]);
    assert_eq!(lookup.closest(), peers[..3]);
}

/// A peer that answers with names that nobody has, all of them near the target, for ever.
#[test]
fn whose_referrals_all_fail_is_not_followed() {
    let (peers, now) = (peers(2000), Instant::now());
    let settings = Settings { wanted: 20, parallel: 1, ..SETTINGS };
    let (liar, honest) = (peers[1000].clone(), peers[1001].clone());
    let mut lookup = Lookup::new(target(), settings, vec![liar.clone(), honest.clone()]);
    lookup.next(now);
    lookup.answered(&liar.id, peers[..20].to_vec());
    for _ in 0..DISTRUST {
        let asked = lookup.next(now).unwrap();
        lookup.failed(&asked.id);
    }
    assert_eq!(lookup.next(now), Some(honest.clone()));
    // What the liar said is believed where another one says it too.
    lookup.answered(&honest.id, peers[15..30].to_vec());
    assert_eq!(lookup.next(now), Some(peers[15].clone()));
}

/// Peers that each tell of nearer ones, without end.
#[test]
fn it_asks_so_many_at_the_most() {
    let (peers, now) = (peers(3000), Instant::now());
    let mut lookup = Lookup::new(target(), SETTINGS, vec![peers[2999].clone()]);
    let mut nearer = peers.iter().rev().skip(1);
    while let Some(asked) = lookup.next(now) {
        lookup.answered(&asked.id, vec![nearer.next().unwrap().clone()]);
    }
    assert!(lookup.is_done());
    assert_eq!(lookup.asked(), MAX_ASKED * SETTINGS.wanted);
}

/// One machine says that it is a thousand peers, all of them nearest to a key.
#[test]
fn neighbours_count_as_few() {
    let settings = Settings { scope: Scope::Wan, wanted: 20, parallel: 10, ..SETTINGS };
    let (peers, now) = (peers(60), Instant::now());
    let at = |peer: &PeerInfo, ip: String| {
        PeerInfo::new(peer.id, vec![format!("/ip4/{ip}/tcp/1").parse().unwrap()])
    };
    let sybils = peers[..30].iter().enumerate().map(|(n, peer)| at(peer, format!("8.8.{n}.1")));
    let honest = peers[30..].iter().enumerate().map(|(n, peer)| at(peer, format!("9.{n}.1.1")));
    let all: Vec<PeerInfo> = sybils.chain(honest).collect();
    let mut lookup = Lookup::new(target(), settings, all.clone());
    while let Some(asked) = lookup.next(now) {
        lookup.answered(&asked.id, Vec::new());
    }
    let closest = lookup.closest();
    assert_eq!(closest.len(), 20);
    assert_eq!(closest.iter().filter(|peer| all[..30].contains(peer)).count(), MAX_OF_GROUP);
}

#[test]
fn paths_have_no_peer_in_common() {
    let (peers, now) = (peers(40), Instant::now());
    let settings = Settings { wanted: 4, parallel: 4, paths: 2, ..SETTINGS };
    let mut lookup = Lookup::new(target(), settings, peers[20..24].to_vec());
    let mut first = Vec::new();
    while let Some(asked) = lookup.next(now) {
        first.push(asked.id);
    }
    assert_eq!(first.len(), 4, "two of each path");
    // One path is led astray; the other one is not.
    lookup.answered(&peers[20].id, peers[..4].to_vec());
    lookup.failed(&peers[22].id);
    lookup.answered(&peers[21].id, peers[4..8].to_vec());
    lookup.failed(&peers[23].id);
    let mut asked = Vec::new();
    while let Some(next) = lookup.next(now) {
        asked.push(next.id);
        match peers[..4].iter().any(|peer| peer.id == next.id) {
            true => lookup.failed(&next.id),
            false => lookup.answered(&next.id, Vec::new()),
        }
    }
    assert_eq!(asked.len(), 8);
    assert!(lookup.is_done());
    let expected = [&peers[4..8], &peers[20..21]].concat();
    assert_eq!(lookup.closest()[..4], expected[..4]);
}

#[test]
fn memory_is_bounded() {
    let now = Instant::now();
    let settings = Settings { wanted: 200, ..SETTINGS };
    let mut lookup = Lookup::new(target(), settings, vec![peer_id(0).into()]);
    for round in 1..300 {
        if let Some(asked) = lookup.next(now) {
            let told = (0..20).map(|n| peer_id(round * 100 + n).into()).collect();
            lookup.answered(&asked.id, told);
        }
    }
    assert!(lookup.candidates.len() <= MAX_CANDIDATES);
}
