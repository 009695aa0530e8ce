use futures::executor::block_on;
use ipfs_traits::memory::{MemoryDatastore, peer_id};

use super::*;
use crate::Validator;

/// Values are better the greater they are.
#[derive(Debug)]
struct Greatest;

impl Validator for Greatest {
    fn validate(&self, _: &[u8], value: &[u8], _: SystemTime) -> Result<()> {
        match value.is_empty() {
            true => Err(Error::invalid("value", "it is empty")),
            false => Ok(()),
        }
    }
    fn is_better(&self, _: &[u8], new: &[u8], old: &[u8]) -> bool {
        new > old
    }
}

fn rules() -> Validators {
    Validators::new().with("x", Greatest)
}

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
}

fn block(number: u64) -> Vec<u8> {
    peer_id(number).to_bytes() // a multihash, as that of a block is
}

fn at(number: u64) -> PeerInfo {
    PeerInfo::new(peer_id(number), vec!["/ip4/1.2.3.4/tcp/1".parse().unwrap()])
}

async fn open(datastore: &Arc<MemoryDatastore>, limits: Limits, wall: SystemTime) -> Records {
    Records::open(datastore.clone(), Scope::Any, limits, wall).await.unwrap()
}

#[test]
fn what_is_kept_is_there_until_it_ends_also_after_a_restart() {
    block_on(async {
        let datastore = Arc::new(MemoryDatastore::new());
        let records = open(&datastore, Limits::default(), start()).await;
        records.add_provider(&block(1), &at(2), true, start()).await.unwrap();
        records.add_provider(&block(1), &at(2), true, start()).await.unwrap();
        records.put_value(b"/x/1", &"a".into(), true, &rules(), start()).await.unwrap();
        assert_eq!(records.providers(&block(1), start()).await.unwrap(), [at(2)], "unflushed");
        records.flush().await.unwrap();
        records.add_provider(&block(1), &at(3), true, start()).await.unwrap();
        assert_eq!(records.providers(&block(1), start()).await.unwrap().len(), 2, "half flushed");
        records.flush().await.unwrap();
        assert_eq!(records.counts(), (2, 1));
        drop(records);

        let later = start() + Duration::from_secs(47 * 3600);
        let records = open(&datastore, Limits::default(), later).await;
        assert_eq!(records.counts(), (2, 1));
        assert_eq!(records.providers(&block(1), later).await.unwrap().len(), 2);
        assert!(records.providers(&block(2), later).await.unwrap().is_empty());
        let value = records.value(b"/x/1", &rules(), later).await.unwrap();
        assert_eq!(value, Some(Bytes::from("a")));
        records.add_provider(&block(1), &at(3), true, later).await.unwrap();

        let end = start() + Duration::from_secs(48 * 3600);
        assert_eq!(records.providers(&block(1), end).await.unwrap(), [at(3)]);
        assert_eq!(records.value(b"/x/1", &rules(), end).await.unwrap(), None);
        records.expire(end).await.unwrap();
        assert_eq!(records.counts(), (1, 0));
        let left: Vec<_> = datastore.scan(b"dht/").collect().await;
        let left: usize = left.into_iter().map(|page| page.unwrap().len()).sum();
        assert_eq!(left, 1);
    });
}

#[test]
fn only_better_values_take_the_place_of_others() {
    block_on(async {
        let datastore = Arc::new(MemoryDatastore::new());
        let records = open(&datastore, Limits::default(), start()).await;
        let put = async |value: &'static str| {
            records.put_value(b"/x/1", &value.into(), true, &rules(), start()).await
        };
        assert!(matches!(put("").await, Err(Error::Invalid { .. })));
        put("b").await.unwrap();
        put("b").await.unwrap();
        assert!(matches!(put("a").await, Err(Error::Invalid { .. })));
        put("c").await.unwrap();
        let value = records.value(b"/x/1", &rules(), start()).await.unwrap();
        assert_eq!((value, records.counts()), (Some(Bytes::from("c")), (0, 1)));
        let unknown = records.put_value(b"/y/1", &"a".into(), true, &rules(), start()).await;
        assert!(matches!(unknown, Err(Error::Unsupported(_))));
    });
}

/// One peer announces as many blocks as fit, so that nobody else's are kept.
#[test]
fn nobody_fills_the_table_alone_and_the_near_have_room() {
    block_on(async {
        let limits = Limits { providers: 640, values: 4, ..Limits::default() };
        let records = open(&Arc::new(MemoryDatastore::new()), limits, start()).await;
        for number in 0..2000 {
            let _ = records.add_provider(&block(number), &at(1), true, start()).await;
        }
        assert_eq!(records.counts().0, 320, "one alone may fill half of it");
        for number in 0..2000 {
            let far = records.add_provider(&block(number), &at(2), false, start()).await;
            assert!(matches!(far, Err(Error::Limit { .. })), "it is for others to keep");
        }
        for peer in 2..4 {
            for number in 0..2000 {
                let _ = records.add_provider(&block(number), &at(peer), true, start()).await;
            }
        }
        assert_eq!(records.counts().0, 320 + 2 * 640 / SHARE, "beyond half, each has its share");
        for number in 0..10_000 {
            let _ = records.add_provider(&block(1), &at(number), true, start()).await;
        }
        assert_eq!(records.counts().0, 640);
        assert_eq!(records.providers(&block(1), start()).await.unwrap().len(), 303);
        for number in 0..10 {
            let key = format!("/x/{number}");
            let _ = records.put_value(key.as_bytes(), &"a".into(), true, &rules(), start()).await;
        }
        assert_eq!(records.counts().1, 4);
    });
}

#[test]
fn keys_that_are_none_are_refused() {
    block_on(async {
        let records = open(&Arc::new(MemoryDatastore::new()), Limits::default(), start()).await;
        for key in [&b""[..], b"x", &[0; 100], &[0x12; 81]] {
            let added = records.add_provider(key, &at(1), true, start()).await;
            assert!(matches!(added, Err(Error::Invalid { .. })), "{key:?}");
            assert!(records.providers(key, start()).await.is_err());
        }
    });
}

#[test]
fn a_damaged_entry_is_passed_over_and_cleared_away() {
    block_on(async {
        let datastore = Arc::new(MemoryDatastore::new());
        let records = open(&datastore, Limits::default(), start()).await;
        let at_key = records.provider_key(&block(1), &peer_id(1));
        let odd = Batch::new()
            .put(at_key, vec![0xff; 12])
            .put("dht/any/", "x")
            .put("dht/any/p", vec![0xff; 9])
            .put("dht/any/p\u{7f}1", vec![0xff; 9]);
        datastore.commit(odd).await.unwrap();
        assert!(records.providers(&block(1), start()).await.unwrap().is_empty());
        records.expire(start()).await.unwrap();
        // An entry whose addresses cannot be read ends by itself.
        assert_eq!(records.counts(), (1, 0));
    });
}
