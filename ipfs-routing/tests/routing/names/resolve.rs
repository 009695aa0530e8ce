//! Resolving: what is believed, how far it is followed, and how long it is kept.

use super::*;

/// What a stream of answers says, with the second in which it does.
fn answers(node: &Node, path: impl ToString) -> Vec<(u64, Result<String, Error>)> {
    let (path, start) = (path.to_string(), node.runtime.now());
    let at = || (node.runtime.now() - start).as_secs();
    let items = node.names.resolve(&path).map(|item| (at(), item.map(|found| found.path)));
    run(&node.runtime, items.collect())
}

/// The same, of answers that are no errors.
fn paths(node: &Node, path: impl ToString) -> Vec<(u64, String)> {
    answers(node, path).into_iter().map(|(at, item)| (at, item.unwrap())).collect()
}

#[test]
fn answers_get_better_and_the_best_is_the_last() {
    let (node, key) = (Node::new(&VirtualRuntime::new()), new_key());
    let [one, two, three] = [1, 2, 3].map(|i| node.sign(&key, &format!("/ipfs/bafkqaaa/{i}"), i));
    // The router gives the third before the second, as the slow ones of its peers have it.
    node.router.gives_records(&name(&key), [(1, &one), (5, &three), (7, &two), (9, &three)]);
    let expected = [(1, "/ipfs/bafkqaaa/1/x".to_owned()), (5, "/ipfs/bafkqaaa/3/x".to_owned())];
    assert_eq!(paths(&node, format!("/ipns/{}/x", name(&key))), expected);
    let best = node.resolve_one(name(&key)).unwrap();
    assert_eq!((best.path.as_str(), best.record), ("/ipfs/bafkqaaa/3", Some(three)));
}

/// A router gave what it liked: records of other names, ended ones, and noise.
#[test]
fn what_is_no_record_of_the_name_is_passed_over_and_counted() {
    let (node, key) = (Node::new(&VirtualRuntime::new()), new_key());
    let good = node.sign(&key, "/ipfs/bafkqaaa/good", 1);
    let stranger = node.sign(&new_key(), "/ipfs/bafkqaaa/bad", 9);
    let ended =
        Record::sign(&key, "/ipfs/bafkqaaa/bad", 9, node.runtime.wall() - SECOND, HOUR, true);
    let mut broken = node.sign(&key, "/ipfs/bafkqaaa/bad", 9).as_bytes().to_vec();
    let last = broken.len() - 1;
    broken[last - 60] ^= 1;
    let bad: [Bytes; 5] = [
        stranger.as_bytes().clone(),
        ended.unwrap().as_bytes().clone(),
        broken.into(),
        "nonsense".into(),
        vec![0; 100_000].into(),
    ];
    let values = bad.iter().chain([good.as_bytes()]).cloned();
    node.router.gives(&name(&key), (0..).zip(values));
    assert_eq!(paths(&node, name(&key)), [(5, "/ipfs/bafkqaaa/good".to_owned())]);
    assert_eq!(node.names.refused(), 5);
    let other = Node::new(&node.runtime);
    other.router.gives(&name(&key), (0..).zip(bad));
    assert!(matches!(other.path_of(name(&key)), Err(Error::Unresolved(_))));
    assert!(matches!(
        run(&node.runtime, other.names.record(&name(&key))),
        Err(Error::Unresolved(_))
    ));
}

/// Each value costs a signature to verify, and a router may have no end of them.
#[test]
fn no_more_values_are_looked_at_than_a_lookup_needs() {
    let (node, key) = (Node::new(&VirtualRuntime::new()), new_key());
    let good = node.sign(&key, "/ipfs/bafkqaaa", 1);
    let noise = vec![(0, Bytes::from("nonsense")); 256];
    node.router.gives(&name(&key), noise.into_iter().chain([(0, good.as_bytes().clone())]));
    assert!(matches!(node.path_of(name(&key)), Err(Error::Unresolved(_))));
    assert_eq!(node.names.refused(), 256);
}

#[test]
fn a_router_that_does_not_end_is_left_after_a_minute() {
    let (node, key) = (Node::new(&VirtualRuntime::new()), new_key());
    node.router.hangs();
    let silent = answers(&node, name(&key));
    assert!(matches!(silent[..], [(60, Err(Error::TimedOut(_)))]), "{silent:?}");
    let (found, late) =
        (node.sign(&key, "/ipfs/bafkqaaa", 1), node.sign(&key, "/ipfs/bafkqaaa/x", 2));
    node.router.gives_records(&name(&key), [(59, &found), (61, &late)]);
    let start = node.runtime.now();
    assert_eq!(node.path_of(name(&key)).unwrap(), "/ipfs/bafkqaaa");
    assert_eq!(node.runtime.now() - start, MINUTE);
}

#[test]
fn a_router_that_fails_matters_only_when_nothing_was_found() {
    let (node, key) = (Node::new(&VirtualRuntime::new()), new_key());
    node.router.fails(true);
    assert!(matches!(node.path_of(name(&key)), Err(Error::Closed("the router"))));
    node.publish_with(&key, "/ipfs/bafkqaaa", {
        let mut options = PublishOptions::default();
        options.offline = true;
        options
    })
    .unwrap();
    assert_eq!(paths(&node, name(&key)), [(0, "/ipfs/bafkqaaa".to_owned())]);
}

#[test]
fn names_lead_to_names_and_domains_and_what_is_behind_goes_along() {
    let (node, key, other) = (Node::new(&VirtualRuntime::new()), new_key(), new_key());
    let first = node.sign(&key, "/ipns/example.com/a/", 1);
    let second = node.sign(&other, "/ipfs/bafkqaaa/c", 1);
    node.router.gives_records(&name(&key), [(0, &first)]);
    node.router.gives_records(&name(&other), [(0, &second)]);
    let link = format!("dnslink=/ipns/{}/b", name(&other));
    node.zone.set_txt("_dnslink.example.com", [link.as_str()], 3 * SECOND);
    let found = node.resolve_one(format!("/ipns/{}/x/", name(&key).peer())).unwrap();
    assert_eq!(found.path, "/ipfs/bafkqaaa/c/b/a/x/");
    assert_eq!((found.ttl, found.record), (3 * SECOND, Some(first)));
    let found = node.resolve_one("/ipfs/bafkqaaa/x").unwrap();
    assert_eq!((found.path.as_str(), found.ttl), ("/ipfs/bafkqaaa/x", Duration::MAX));
    assert_eq!(node.path_of("EXAMPLE.com.").unwrap(), "/ipfs/bafkqaaa/c/b");
}

/// What a worse record led to is not waited for, and does not come after the better one.
#[test]
fn a_better_record_ends_where_the_worse_one_led() {
    let (node, key, slow) = (Node::new(&VirtualRuntime::new()), new_key(), new_key());
    let worse = node.sign(&key, &format!("/ipns/{}", name(&slow)), 1);
    let better = node.sign(&key, "/ipfs/bafkqaaa/better", 2);
    node.router.gives_records(&name(&key), [(1, &worse), (5, &better)]);
    node.router.gives_records(&name(&slow), [(20, &node.sign(&slow, "/ipfs/bafkqaaa/worse", 1))]);
    assert_eq!(paths(&node, name(&key)), [(5, "/ipfs/bafkqaaa/better".to_owned())]);
    // Also when the better one leads to no path at all.
    let until = node.runtime.wall() + HOUR;
    let wrong = Record::sign(&key, "nonsense", 2, until, MINUTE, true).unwrap();
    let other = Node::new(&node.runtime);
    other.router.gives_records(&name(&key), [(1, &worse), (5, &wrong)]);
    other.router.gives_records(&name(&slow), [(20, &node.sign(&slow, "/ipfs/bafkqaaa/worse", 1))]);
    let all = answers(&other, name(&key));
    assert!(matches!(all[..], [(5, Err(Error::Malformed { .. }))]), "{all:?}");
    // And one that leads nowhere does not leave the answer to the one before it.
    let [one, two] =
        [node.sign(&key, "/ipfs/bafkqaaa", 1), node.sign(&key, "/ipns/absent.example", 2)];
    let other = Node::new(&node.runtime);
    other.router.gives_records(&name(&key), [(1, &one), (5, &two)]);
    assert!(matches!(other.path_of(name(&key)), Err(Error::Unresolved(_))));
}

#[test]
fn a_circle_of_names_ends() {
    let node = Node::new(&VirtualRuntime::new());
    node.zone.set_txt("_dnslink.a.example", ["dnslink=/ipns/b.example"], MINUTE);
    node.zone.set_txt("_dnslink.b.example", ["dnslink=/ipns/a.example"], MINUTE);
    let error = node.path_of("a.example").unwrap_err();
    assert!(matches!(error.what(), Error::Limit { limit: 32, actual: 33, .. }), "{error:?}");
    assert!(matches!(&error, Error::At { path, .. } if **path == *"/ipns/a.example"));
}

#[test]
fn thirty_two_names_are_followed() {
    let node = Node::new(&VirtualRuntime::new());
    for i in 0..32 {
        let link = format!("dnslink=/ipns/{}.example", i + 1);
        node.zone.set_txt(&format!("_dnslink.{i}.example"), [link], MINUTE);
    }
    node.zone.set_txt("_dnslink.32.example", ["dnslink=/ipfs/bafkqaaa"], MINUTE);
    assert_eq!(node.path_of("1.example").unwrap(), "/ipfs/bafkqaaa");
    assert!(matches!(node.path_of("0.example").unwrap_err().what(), Error::Limit { .. }));
}

/// Names that each go on by a long path make a longer one at each step.
#[test]
fn a_path_that_grows_on_the_way_is_bounded() {
    let node = Node::new(&VirtualRuntime::new());
    let link = format!("dnslink=/ipns/a.example/{}", "x".repeat(5000));
    node.zone.set_txt("_dnslink.a.example", [link], MINUTE);
    let error = node.path_of("a.example").unwrap_err();
    assert!(matches!(error, Error::Limit { what: "bytes of a path", .. }), "{error:?}");
}

#[test]
fn what_cannot_be_resolved_says_why() {
    let (node, key) = (Node::new(&VirtualRuntime::new()), new_key());
    node.zone.set_txt("_dnslink.two.example", ["dnslink=/ipfs/bafkqaaa", "bafkqaaa"], MINUTE);
    let error = |path: &str| node.path_of(path).unwrap_err();
    assert!(matches!(error("two.example"), Error::Invalid { what: "DNSLink", .. }));
    assert!(matches!(error("none.example"), Error::Unresolved(name) if name == "none.example"));
    let content = "bafybeihfg3d7rdltd43u3tfvncx7n5loqofbsobojcadtmokrljfthuc7y";
    assert!(matches!(error(content), Error::Invalid { what: "IPNS name", .. }));
    for path in ["", "/", "/ipns", "/ipns/", "/ipfs/nonsense", "/hyper/x", "a b", "a..b"] {
        assert!(matches!(error(path), Error::Invalid { .. }), "{path}");
    }
    assert!(matches!(error(&"x".repeat(40_000)), Error::Limit { .. }));
    for value in [&b"\xff"[..], b"bafkqaaa", b"/ipns/", b""] {
        let until = node.runtime.wall() + HOUR;
        let record = Record::sign(&key, value, 1, until, MINUTE, true).unwrap();
        node.router.gives_records(&name(&key), [(0, &record)]);
        let error = error(&name(&key).to_string());
        assert!(matches!(error, Error::Malformed { .. }), "{value:?}: {error:?}");
    }
    let (runtime, router) = (Arc::new(node.runtime.clone()), Arc::new(node.router.clone()));
    let names = Names::new(runtime, router, node.store.clone(), None, Options::default());
    let outcome = run(&node.runtime, names.resolve_one("example.com"));
    assert!(matches!(outcome, Err(Error::Unsupported(_))));
}

#[test]
fn an_answer_is_kept_for_its_ttl() {
    let (node, key) = (Node::new(&VirtualRuntime::new()), new_key());
    let wait = |time| run(&node.runtime, node.runtime.sleep(time));
    node.router.gives_records(&name(&key), [(0, &node.sign(&key, "/ipfs/bafkqaaa", 1))]);
    assert_eq!(node.resolve_one(name(&key)).unwrap().ttl, MINUTE);
    node.router.gives_records(&name(&key), [(0, &node.sign(&key, "/ipfs/bafkqaaa/b", 2))]);
    wait(59 * SECOND);
    let kept = node.resolve_one(name(&key)).unwrap();
    assert_eq!((kept.path.as_str(), kept.ttl), ("/ipfs/bafkqaaa", SECOND));
    assert_eq!(paths(&node, name(&key)).len(), 1);
    assert_eq!(node.router.asked(), 1);
    wait(SECOND);
    assert_eq!(node.path_of(name(&key)).unwrap(), "/ipfs/bafkqaaa/b");
    // What is put is seen at once.
    let third = node.sign(&key, "/ipfs/bafkqaaa/c", 3);
    let put = async { node.names.put_record(&name(&key), third.as_bytes().clone()).await };
    run(&node.runtime, put).unwrap();
    assert_eq!(node.path_of(name(&key)).unwrap(), "/ipfs/bafkqaaa/c");
}

/// A key may say that its record may be kept for a year that ends in a minute.
#[test]
fn an_answer_is_not_kept_beyond_the_end_of_its_record() {
    let (node, key) = (Node::new(&VirtualRuntime::new()), new_key());
    let until = node.runtime.wall() + MINUTE;
    let record = Record::sign(&key, "/ipfs/bafkqaaa", 1, until, 9000 * HOUR, true).unwrap();
    node.router.gives_records(&name(&key), [(0, &record)]);
    assert_eq!(node.resolve_one(name(&key)).unwrap().ttl, MINUTE);
    run(&node.runtime, node.runtime.sleep(MINUTE + SECOND));
    assert!(matches!(node.path_of(name(&key)), Err(Error::Unresolved(_))));
    // One without a TTL is not kept at all.
    let until = node.runtime.wall() + MINUTE;
    let record = Record::sign(&key, "/ipfs/bafkqaaa", 1, until, Duration::ZERO, true).unwrap();
    node.router.gives_records(&name(&key), [(0, &record)]);
    let asked = node.router.asked();
    for _ in 0..2 {
        assert_eq!(node.resolve_one(name(&key)).unwrap().ttl, Duration::ZERO);
    }
    assert_eq!(node.router.asked(), asked + 2);
}

#[test]
fn a_domain_is_kept_as_long_as_its_record_says_or_for_a_minute() {
    let node = Node::new(&VirtualRuntime::new());
    let set = |path: &str, ttl| {
        node.zone.set_txt("_dnslink.a.example", [format!("dnslink={path}")], ttl);
    };
    for (said, kept) in [(10 * SECOND, 10 * SECOND), (Duration::ZERO, MINUTE)] {
        set("/ipfs/bafkqaaa/old", said);
        assert_eq!(node.resolve_one("a.example").unwrap().ttl, kept);
        set("/ipfs/bafkqaaa/new", Duration::ZERO);
        run(&node.runtime, node.runtime.sleep(kept - SECOND));
        assert_eq!(node.path_of("A.example.").unwrap(), "/ipfs/bafkqaaa/old");
        run(&node.runtime, node.runtime.sleep(SECOND));
        assert_eq!(node.path_of("a.example").unwrap(), "/ipfs/bafkqaaa/new");
        run(&node.runtime, node.runtime.sleep(MINUTE));
    }
}

#[test]
fn what_is_kept_is_bounded() {
    let mut options = Options::default();
    options.cache = 2;
    let node = Node::with(&VirtualRuntime::new(), options);
    let keys = [new_key(), new_key(), new_key()];
    for key in &keys {
        node.router.gives_records(&name(key), [(0, &node.sign(key, "/ipfs/bafkqaaa", 1))]);
        node.path_of(name(key)).unwrap();
    }
    assert_eq!(node.router.asked(), 3);
    for key in keys.iter().rev() {
        node.path_of(name(key)).unwrap();
    }
    assert_eq!(node.router.asked(), 4);
}

#[test]
fn own_names_are_answered_at_once_and_then_with_what_is_better() {
    let (node, key) = (Node::new(&VirtualRuntime::new()), new_key());
    node.publish(&key, "/ipfs/bafkqaaa/own").unwrap();
    let asked = node.router.asked();
    let start = node.runtime.now();
    let own = node.resolve_one(name(&key)).unwrap();
    assert_eq!((own.path.as_str(), node.runtime.now()), ("/ipfs/bafkqaaa/own", start));
    assert_eq!(node.router.asked(), asked);
    // Another one who has the key published, too.
    let other = node.sign(&key, "/ipfs/bafkqaaa/other", 7);
    node.router.gives_records(&name(&key), [(3, &other)]);
    let expected = [(0, "/ipfs/bafkqaaa/own".to_owned()), (3, "/ipfs/bafkqaaa/other".to_owned())];
    assert_eq!(paths(&node, name(&key)), expected);
    assert_eq!(run(&node.runtime, node.names.record(&name(&key))).unwrap(), other);
    // What has ended is no answer any more.
    run(&node.runtime, node.runtime.sleep(49 * HOUR));
    assert!(matches!(node.path_of(name(&key)), Err(Error::Unresolved(_))));
}

#[test]
fn a_dropped_lookup_ends() {
    let (node, key) = (Node::new(&VirtualRuntime::new()), new_key());
    node.router.gives_records(&name(&key), [(0, &node.sign(&key, "/ipfs/bafkqaaa", 1))]);
    node.router.hangs();
    let start = node.runtime.now();
    let mut items = node.names.resolve(&name(&key).to_string());
    assert_eq!(node.router.asked(), 0, "nothing is asked before it is wanted");
    let first = run(&node.runtime, items.next()).unwrap().unwrap();
    drop(items);
    assert_eq!((first.path.as_str(), node.runtime.now()), ("/ipfs/bafkqaaa", start));
}
