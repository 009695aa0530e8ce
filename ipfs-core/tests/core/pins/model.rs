//! Pins against a model: whatever is done, and whatever fails, the pins are what they should be.

mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::TryStreamExt;
use ipfs_core::{
    Blockstore, Cid, Error, Follow, Node, Pin, PinMode, PinnedBy, Result, VirtualRuntime,
};

use self::world::{Damage, Damaging, Health, Look, World};
use crate::{numbers::Numbers, seeds::seeds};

const RUNS: u64 = 20;
const STEPS: usize = 40;

#[test]
fn pins_are_what_a_simple_model_says() {
    let mut counts = BTreeMap::new();
    for seed in seeds(RUNS, RUNS * 100) {
        let runtime = VirtualRuntime::new();
        let play = async {
            let mut model = Model::new(&runtime, Numbers(seed)).await;
            for step in 0..STEPS {
                let done = model.step().await;
                *counts.entry(done).or_insert(0) += 1;
                if let Err(wrong) = model.check().await {
                    panic!("seed {seed}, step {step}, after {done}: {wrong}");
                }
            }
        };
        runtime.block_on(play).unwrap();
    }
    println!("{counts:?}");
    assert!(counts.len() > 15, "{counts:?}");
}

/// A pin as the model has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Made {
    mode: PinMode,
    name: Option<String>,
}

/// By block and codec.
type Pins = BTreeMap<Cid, Made>;

struct Model {
    node: Node,
    world: World,
    pins: Pins,
    numbers: Numbers,
}

const FOLLOWS: [Follow; 2] = [Follow::All, Follow::WithoutSubmodules];

impl Model {
    async fn new(runtime: &VirtualRuntime, mut numbers: Numbers) -> Self {
        let store = Arc::new(Damaging::default());
        let node = Node::builder().runtime(runtime.clone()).offline().codec(ipld_git::GitCodec);
        let node = node.store(store.clone() as Arc<dyn Blockstore>).spawn().await.unwrap();
        let world = World::make(&node, store, &mut numbers).await;
        for known in &world.blocks {
            if numbers.below(12) > 0 {
                node.blocks().put(known.block.clone()).await.unwrap();
            }
        }
        Self { node, world, pins: Pins::new(), numbers }
    }

    /// Does one thing; says what, and what came of it.
    async fn step(&mut self) -> &'static str {
        match self.numbers.below(10) {
            0..3 => self.add().await,
            3 => self.add_direct().await,
            4 => self.update().await,
            5 => self.remove().await,
            6 | 7 => self.delete().await,
            8 => self.put().await,
            _ => self.damage(),
        }
    }

    fn any(&mut self) -> Cid {
        self.world.any(&mut self.numbers)
    }

    fn name(&mut self) -> Option<String> {
        [None, Some("a"), Some("b")][self.numbers.below(3) as usize].map(str::to_owned)
    }

    fn pinned(&mut self) -> Cid {
        let count = self.pins.len() as u64;
        let place = self.numbers.below(count) as usize;
        match self.pins.keys().nth(place) {
            Some(cid) if self.numbers.below(4) > 0 => *cid,
            _ => self.any(),
        }
    }

    async fn add(&mut self) -> &'static str {
        let (cid, name) = (self.any(), self.name());
        let follow = FOLLOWS[self.numbers.below(2) as usize];
        let mut add = self.node.pins().add(cid).follow(follow);
        if let Some(name) = &name {
            add = add.name(name);
        }
        let done = add.await;
        let lacking = self.world.walk(cid, follow, Look::All).lacking;
        match lacking.is_empty() {
            true => {
                let made = Made { mode: PinMode::Recursive(follow), name };
                assert!(is(&done.unwrap(), &cid, &made));
                match self.pins.insert(cid, made) {
                    None => "pin",
                    Some(_) => "re-pin",
                }
            }
            false => {
                lacks(done, &lacking);
                "pin of what is not whole"
            }
        }
    }

    async fn add_direct(&mut self) -> &'static str {
        let cid = if self.numbers.below(2) == 0 { self.any() } else { self.pinned() };
        let done = self.node.pins().add(cid).direct().await;
        if self.world.store.health(cid.hash()) == Health::Missing {
            lacks(done, &BTreeSet::from([cid]));
            return "direct pin of what is missing";
        }
        if self.pins.get(&cid).is_some_and(|pin| pin.mode != PinMode::Direct) {
            assert!(matches!(done, Err(Error::Exists(_))), "{done:?}");
            return "direct pin of what is pinned recursively";
        }
        let made = Made { mode: PinMode::Direct, name: None };
        assert!(is(&done.unwrap(), &cid, &made));
        self.pins.insert(cid, made);
        "direct pin"
    }

    async fn update(&mut self) -> &'static str {
        let (old, new) = (self.pinned(), self.any());
        let (name, keeps) = (self.name(), self.numbers.below(3) == 0);
        let mut update = self.node.pins().update(&old, new);
        if let Some(name) = &name {
            update = update.name(name);
        }
        let done = if keeps { update.keep_old() } else { update }.await;
        let Some(found) = self.pins.get(&old).cloned() else {
            assert!(matches!(done, Err(Error::NotPinned(of)) if of == old), "{done:?}");
            return "update of what is not pinned";
        };
        if found.mode == PinMode::Direct {
            assert!(matches!(done, Err(Error::Invalid { .. })), "{done:?}");
            return "update of a direct pin";
        }
        let lacking = self.world.walk(new, Follow::All, Look::All).lacking;
        if !lacking.is_empty() {
            lacks(done, &lacking);
            return "update to what is not whole";
        }
        let made = Made { mode: PinMode::Recursive(Follow::All), name: name.or(found.name) };
        assert!(is(&done.unwrap(), &new, &made));
        if !keeps {
            self.pins.remove(&old);
        }
        self.pins.insert(new, made);
        "update"
    }

    async fn remove(&mut self) -> &'static str {
        let cid = self.pinned();
        let done = self.node.pins().remove(&cid).await;
        match self.pins.remove(&cid) {
            Some(_) => {
                done.unwrap();
                "removal"
            }
            None => {
                assert!(matches!(done, Err(Error::NotPinned(of)) if of == cid), "{done:?}");
                "removal of what is not pinned"
            }
        }
    }

    async fn delete(&mut self) -> &'static str {
        let cid = self.any();
        let done = self.node.blocks().delete(&cid).await;
        let own = self.pins.keys().any(|pin| pin.hash() == cid.hash());
        if !own && self.above(&cid).is_empty() {
            done.unwrap();
            return "deletion";
        }
        assert!(matches!(&done, Err(Error::Pinned { cid: of, .. }) if of.hash() == cid.hash()));
        "deletion of what is pinned"
    }

    async fn put(&mut self) -> &'static str {
        let place = self.numbers.below(self.world.blocks.len() as u64) as usize;
        let block = self.world.blocks[place].block.clone();
        self.world.store.heal(block.hash());
        self.node.blocks().put(block).await.unwrap();
        "put"
    }

    fn damage(&mut self) -> &'static str {
        let cid = self.pinned();
        let kinds = [Damage::Known, Damage::Record, Damage::Malformed];
        let damage = kinds[self.numbers.below(3) as usize];
        if self.world.store.health(cid.hash()) == Health::Good && self.numbers.below(3) > 0 {
            self.world.store.damage(cid.hash(), damage);
            return "damage";
        }
        self.world.store.heal(cid.hash());
        "healing"
    }
}

fn is(pin: &Pin, cid: &Cid, made: &Made) -> bool {
    pin.cid == *cid && pin.mode == made.mode && pin.name == made.name
}

/// The error names all that is lacking, and nothing else.
fn lacks<T: std::fmt::Debug>(done: Result<T>, lacking: &BTreeSet<Cid>) {
    let Err(Error::Incomplete { count, missing, .. }) = &done else {
        panic!("{done:?}, and {lacking:?} is lacking");
    };
    let named: BTreeSet<Cid> = missing.iter().map(|missing| missing.cid).collect();
    assert_eq!((&named, *count), (lacking, lacking.len() as u64));
}

/// What can be asked.
impl Model {
    fn recursive(&self) -> impl Iterator<Item = (Cid, Follow)> {
        self.pins.iter().filter_map(|(cid, made)| match made.mode {
            PinMode::Recursive(follow) => Some((*cid, follow)),
            _ => None,
        })
    }

    /// What a block is below, by whatever codec.
    fn above(&self, cid: &Cid) -> BTreeSet<Cid> {
        let is_below = |(root, follow): &(Cid, Follow)| {
            let walked = self.world.walk(*root, *follow, Look::Links);
            walked.reached.iter().any(|reached| reached.hash() == cid.hash())
        };
        self.recursive().filter(is_below).map(|(root, _)| root).collect()
    }

    async fn check(&mut self) -> Result<(), String> {
        self.check_lists().await.map_err(|error| format!("a list: {error:?}"))??;
        self.check_reasons().await.map_err(|error| format!("a reason: {error:?}"))??;
        for look in [Look::All, Look::Bytes] {
            self.check_whole(look).await.map_err(|error| format!("verify: {error:?}"))??;
        }
        Ok(())
    }

    async fn check_lists(&mut self) -> Result<Result<(), String>> {
        let pins = self.node.pins();
        let all: Vec<Pin> = pins.list().try_collect().await?;
        let named: Vec<Pin> = pins.named("a").try_collect().await?;
        let made = |pins: Vec<Pin>| -> Pins {
            pins.into_iter().map(|p| (p.cid, Made { mode: p.mode, name: p.name })).collect()
        };
        let (count, all) = (all.len(), made(all));
        if count != all.len() || all != self.pins {
            return Ok(Err(format!("{count} pins: {all:?}, and not {:?}", self.pins)));
        }
        let a = Some("a".to_owned());
        let expected: Pins =
            self.pins.clone().into_iter().filter(|(_, made)| made.name == a).collect();
        if made(named) != expected {
            return Ok(Err("others have the name".to_owned()));
        }
        let cid = self.pinned();
        let found = self.node.pins().get(&cid).await?;
        let found = found.map(|pin| Made { mode: pin.mode, name: pin.name });
        Ok(match found.as_ref() == self.pins.get(&cid) {
            true => Ok(()),
            false => Err(format!("the pin of {cid} is {found:?}")),
        })
    }

    async fn check_reasons(&mut self) -> Result<Result<(), String>> {
        let cid = self.any();
        let own = self.pins.iter().filter(|(pin, _)| pin.hash() == cid.hash());
        let own: Vec<PinMode> = own.map(|(_, made)| made.mode).collect();
        let why = self.node.pins().why(&cid).await?;
        let is_right = match why {
            Some(PinnedBy::Direct) => own.contains(&PinMode::Direct),
            Some(PinnedBy::Recursive) => own.iter().any(|mode| *mode != PinMode::Direct),
            Some(PinnedBy::Indirect(root)) => own.is_empty() && self.above(&cid).contains(&root),
            _ => own.is_empty() && self.above(&cid).is_empty(),
        };
        if !is_right {
            return Ok(Err(format!("{cid} is pinned because of {why:?}")));
        }
        let own: BTreeSet<_> = self.pins.keys().map(|cid| *cid.hash()).collect();
        let mut expected = BTreeSet::new();
        for (root, follow) in self.recursive() {
            let reached = self.world.walk(root, follow, Look::Links).reached;
            expected.extend(reached.iter().map(|cid| *cid.hash()).filter(|h| !own.contains(h)));
        }
        let found: Vec<_> = self.node.pins().indirect().try_collect().await?;
        for below in &found {
            if !self.above(&below.cid).contains(&below.root) {
                return Ok(Err(format!("{} is not below {}", below.cid, below.root)));
            }
        }
        let hashes: BTreeSet<_> = found.iter().map(|found| *found.cid.hash()).collect();
        Ok(match hashes == expected && hashes.len() == found.len() {
            true => Ok(()),
            false => Err(format!("{} are indirect, {} should be", found.len(), expected.len())),
        })
    }

    async fn check_whole(&self, look: Look) -> Result<Result<(), String>> {
        let mut verify = self.node.pins().verify();
        if look == Look::Bytes {
            verify = verify.hashing();
        }
        let all: Vec<_> = verify.clone().all().try_collect().await?;
        if all.len() != self.pins.len() {
            return Ok(Err(format!("{} of {} were verified", all.len(), self.pins.len())));
        }
        for verified in all {
            let pin = &verified.pin;
            let lacking = match pin.mode {
                PinMode::Recursive(follow) => self.world.walk(pin.cid, follow, look).lacking,
                _ => match self.world.store.health(pin.cid.hash()) {
                    Health::Missing => BTreeSet::from([pin.cid]),
                    Health::Damaged if look == Look::Bytes => BTreeSet::from([pin.cid]),
                    _ => BTreeSet::new(),
                },
            };
            for whole in [verified.whole, verify.one(pin).await] {
                match lacking.is_empty() {
                    true => whole?,
                    false => lacks(whole, &lacking),
                }
            }
        }
        Ok(Ok(()))
    }
}
