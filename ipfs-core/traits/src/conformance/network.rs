//! What a [`Network`] promises.

use std::{future::Future, sync::Arc};

use futures_core::stream::BoxStream;
use futures_util::{
    AsyncReadExt, AsyncWriteExt, StreamExt,
    future::{Either, join as join_both, select},
};

use super::{Promise, Verdict, Violation, check, same};
use crate::{
    Error, Inbound, Network, PeerId, PeerInfo, Result,
    network::{Event, Protocol, Stream},
};

const ECHO: Protocol = Protocol::from_static("/conformance/echo/1");
const OTHER: Protocol = Protocol::from_static("/conformance/other/1");
/// Accepted in one place of the suite alone: what is told of it late is of no other place.
const TOLD: Protocol = Protocol::from_static("/conformance/told/1");
const NOBODY: Protocol = Protocol::from_static("/conformance/nobody/1");

/// Checks a [`Network`]; `make` gives two new ones that can reach each other at the addresses they
/// name.
///
/// # Errors
///
/// The first promise that is not kept.
pub async fn network<F>(make: impl Fn() -> F) -> Verdict
where
    F: Future<Output = Result<(Arc<dyn Network>, Arc<dyn Network>)>>,
{
    let fresh = || async { make().await.promised("two networks can be made") };
    let (a, b) = fresh().await?;
    connecting(&*a, &*b).await?;
    streams(&*a, &*b).await?;
    dropped(&*a, &*b).await?;
    protocols(&*a, &*b).await?;
    bound(&*a, &*b).await?;
    disconnecting(&*a, &*b).await?;
    closing(&*a, &*b).await?;
    let (a, b) = fresh().await?;
    nothing_lost(&*a, &*b).await?;
    closing(&*a, &*b).await
}

/// Checks that a stream dropped unclosed is an error to the other side, and not an end: of a network
/// that can tell the two apart.
///
/// # Errors
///
/// When it is an end.
pub async fn network_resets<F>(make: impl Fn() -> F) -> Verdict
where
    F: Future<Output = Result<(Arc<dyn Network>, Arc<dyn Network>)>>,
{
    let rule = "a stream dropped unclosed is an error to the other side, not an end";
    let (a, b) = make().await.promised("two networks can be made")?;
    join(&*a, &*b).await.promised("two networks can connect")?;
    same(dropped(&*a, &*b).await?, true, rule)?;
    closing(&*a, &*b).await
}

async fn join(a: &dyn Network, b: &dyn Network) -> Result<()> {
    a.connect(&PeerInfo::new(b.local_peer(), b.addresses())).await
}

/// Waits until `events` tells what `wanted` accepts.
async fn until(
    events: &mut BoxStream<'static, Event>,
    rule: &'static str,
    wanted: impl Fn(&Event) -> bool,
) -> Verdict {
    while !wanted(&events.next().await.promised(rule)?) {}
    Ok(())
}

/// Events from now on: what is true now has been told.
async fn watch(
    network: &dyn Network,
) -> std::result::Result<BoxStream<'static, Event>, super::Violation> {
    let rule = "events begin with a snapshot";
    let mut events = network.events();
    let first = events.next().await.promised(rule)?;
    check(matches!(first, Event::Snapshot(_)), rule, || format!("{first:?}"))?;
    Ok(events)
}

async fn connecting(a: &dyn Network, b: &dyn Network) -> Verdict {
    let (mut at_a, mut at_b) = (watch(a).await?, watch(b).await?);
    let rule = "a stream is opened only to a connected peer";
    let early = a.open(b.local_peer(), &[ECHO]).await;
    check(matches!(early, Err(Error::Unreachable(..))), rule, || format!("{early:?}"))?;

    let rule = "two networks can connect";
    join(a, b).await.promised(rule)?;
    join(a, b).await.promised("connecting to a connected peer is no error")?;
    let rule = "both sides are told of a connection, by the name of the other";
    until(&mut at_a, rule, |event| *event == Event::Connected(b.local_peer())).await?;
    until(&mut at_b, rule, |event| *event == Event::Connected(a.local_peer())).await?;
    let rule = "a later reader's snapshot has the peer";
    let first = a.events().next().await.promised(rule)?;
    let kept = matches!(&first, Event::Snapshot(now)
        if now.peers.iter().map(|state| state.peer).eq([b.local_peer()]));
    check(kept, rule, || format!("{first:?}"))
}

async fn taken(
    inbound: &mut BoxStream<'static, Inbound>,
    from: PeerId,
) -> std::result::Result<Stream, super::Violation> {
    let rule = "an inbound stream says who opened it";
    let guest = inbound.next().await.promised(rule)?;
    same(guest.peer, from, rule)?;
    Ok(guest.stream)
}

async fn streams(a: &dyn Network, b: &dyn Network) -> Verdict {
    let rule = "what is written arrives, both ways, and an end is an end";
    let mut inbound = b.accept(&[ECHO, OTHER], 8).promised(rule)?;
    for (asked, chosen) in [(vec![ECHO], ECHO), (vec![NOBODY, OTHER, ECHO], OTHER)] {
        let mut near = a.open(b.local_peer(), &asked).await.promised(rule)?;
        same(near.protocol().clone(), chosen.clone(), "the first protocol that fits is chosen")?;
        let there = vec![1; 100_000];
        let back = vec![2; 100_000];
        let here = async {
            near.write_all(&there).await?;
            near.close().await?;
            let mut found = Vec::new();
            near.read_to_end(&mut found).await?;
            Ok::<_, std::io::Error>(found)
        };
        let echo = async {
            let mut far = taken(&mut inbound, a.local_peer()).await?;
            same(far.protocol().clone(), chosen.clone(), "both sides know the protocol")?;
            let mut found = Vec::new();
            far.read_to_end(&mut found).await.promised(rule)?;
            far.write_all(&back).await.promised(rule)?;
            far.close().await.promised(rule)?;
            same(found == there, true, rule)
        };
        let (found, echoed) = join_both(here, echo).await;
        echoed?;
        same(found.promised(rule)? == back, true, rule)?;
    }
    let rule = "a protocol that the peer does not speak is `Unsupported`";
    let refused = a.open(b.local_peer(), &[NOBODY]).await;
    check(matches!(refused, Err(Error::Unsupported(_))), rule, || format!("{refused:?}"))
}

/// What the other side sees of a stream that is dropped unclosed.
async fn dropped(a: &dyn Network, b: &dyn Network) -> Result<bool, Violation> {
    let rule = "a stream dropped unclosed is over for the other side";
    let mut inbound = b.accept(&[ECHO], 8).promised(rule)?;
    let mut near = a.open(b.local_peer(), &[ECHO]).await.promised(rule)?;
    near.write_all(b"begun").await.promised(rule)?;
    near.flush().await.promised(rule)?;
    let mut far = taken(&mut inbound, a.local_peer()).await?;
    let mut begun = [0; 5];
    far.read_exact(&mut begun).await.promised(rule)?;
    drop(near);
    Ok(far.read_to_end(&mut Vec::new()).await.is_err())
}

async fn protocols(a: &dyn Network, b: &dyn Network) -> Verdict {
    let speaks = |event: &Event, wanted: bool| match event {
        Event::Protocols(peer, spoken) => {
            *peer == b.local_peer() && spoken.contains(&TOLD) == wanted
        }
        _ => false,
    };
    let mut events = watch(a).await?;
    let rule = "peers are told of a protocol while it is accepted";
    let inbound = b.accept(&[TOLD], 8).promised(rule)?;
    until(&mut events, rule, |event| speaks(event, true)).await?;
    let rule = "a protocol is accepted in one place";
    let second = b.accept(&[OTHER, TOLD], 8).err();
    check(matches!(second, Some(Error::InUse(_))), rule, || format!("{second:?}"))?;
    let rule = "peers are told when it is no longer accepted";
    drop(inbound);
    until(&mut events, rule, |event| speaks(event, false)).await?;
    let refused = a.open(b.local_peer(), &[TOLD]).await;
    let kept = matches!(refused, Err(Error::Unsupported(_)));
    check(kept, "what is no longer accepted is `Unsupported`", || format!("{refused:?}"))?;
    b.accept(&[TOLD], 8).map(drop).promised("what was given up can be accepted again")
}

/// Opens a stream and shows it alive: the far side has to have seen a byte of it.
async fn open_with(a: &dyn Network, to: PeerId, mark: u8) -> Result<Stream> {
    let mut stream = a.open(to, &[ECHO]).await?;
    let sent = async {
        stream.write_all(&[mark]).await?;
        stream.flush().await
    };
    sent.await.map_err(|error| Error::Unreachable(to, Some(Arc::new(error))))?;
    Ok(stream)
}

async fn bound(a: &dyn Network, b: &dyn Network) -> Verdict {
    let rule = "beyond the bound a new stream is reset and counted";
    let mut inbound = b.accept(&[ECHO], 2).promised(rule)?;
    let before = b.stats().refused_streams;
    let mut held = Vec::new();
    for mark in 0..2 {
        held.push(open_with(a, b.local_peer(), mark).await.promised(rule)?);
    }
    let mut guests = Vec::new();
    for _ in 0..2 {
        guests.push(taken(&mut inbound, a.local_peer()).await?);
    }
    if let Ok(mut over) = open_with(a, b.local_peer(), 2).await {
        let mut rest = Vec::new();
        let ended = select(over.read_to_end(&mut rest), inbound.next()).await;
        let ended = matches!(ended, Either::Left(_));
        check(ended, rule, || "the third of two stayed open".into())?;
    }
    same(b.stats().refused_streams, before + 1, rule)?;
    let rule = "streams within the bound are kept, and room comes back when one ends";
    let mut marks = Vec::new();
    for far in &mut guests {
        let mut mark = [0];
        far.read_exact(&mut mark).await.promised(rule)?;
        marks.push(mark[0]);
    }
    marks.sort_unstable();
    same(marks, vec![0, 1], rule)?;
    drop(guests);
    drop(held);
    let _again = open_with(a, b.local_peer(), 3).await.promised(rule)?;
    taken(&mut inbound, a.local_peer()).await.map(drop)
}

/// As many as a Kubo node may open at once for its answers.
const MANY: u8 = 128;

async fn nothing_lost(a: &dyn Network, b: &dyn Network) -> Verdict {
    let rule = "a stream that was accepted waits until it is taken";
    join(a, b).await.promised(rule)?;
    let mut inbound = b.accept(&[ECHO], MANY.into()).promised(rule)?;
    let mut held = Vec::new();
    for mark in 0..MANY {
        held.push(open_with(a, b.local_peer(), mark).await.promised(rule)?);
    }
    let mut marks = Vec::new();
    for _ in 0..MANY {
        let mut far = taken(&mut inbound, a.local_peer()).await?;
        let mut mark = [0];
        far.read_exact(&mut mark).await.promised(rule)?;
        marks.push(mark[0]);
    }
    marks.sort_unstable();
    same(marks, (0..MANY).collect(), rule)
}

async fn disconnecting(a: &dyn Network, b: &dyn Network) -> Verdict {
    let rule = "a lost connection is told to both sides, and its streams fail";
    let (mut at_a, mut at_b) = (watch(a).await?, watch(b).await?);
    let mut inbound = b.accept(&[ECHO], 8).promised(rule)?;
    let _protected = a.protect(b.local_peer(), "conformance", 1);
    let mut near = open_with(a, b.local_peer(), 0).await.promised(rule)?;
    let _far = taken(&mut inbound, a.local_peer()).await?;
    a.disconnect(b.local_peer()).await.promised(rule)?;
    until(&mut at_a, rule, |event| *event == Event::Gone(b.local_peer())).await?;
    until(&mut at_b, rule, |event| *event == Event::Gone(a.local_peer())).await?;
    let end = near.read_to_end(&mut Vec::new()).await;
    check(end.is_err(), rule, || format!("{end:?}"))?;
    let late = a.open(b.local_peer(), &[ECHO]).await;
    check(matches!(late, Err(Error::Unreachable(..))), rule, || format!("{late:?}"))?;
    let rule = "disconnecting from who is not connected is no error";
    a.disconnect(b.local_peer()).await.promised(rule)?;
    let rule = "after that they can connect again";
    join(a, b).await.promised(rule)?;
    // The side that was dialed may be told later than the one that dials.
    until(&mut at_b, rule, |event| *event == Event::Connected(a.local_peer())).await
}

async fn closing(a: &dyn Network, b: &dyn Network) -> Verdict {
    let rule = "closing ends the streams of events and of guests";
    let (mut events, mut at_b) = (watch(a).await?, watch(b).await?);
    let mut inbound = a.accept(&[ECHO], 8).promised(rule)?;
    a.close().await.promised(rule)?;
    while events.next().await.is_some() {}
    check(inbound.next().await.is_none(), rule, || "a guest came after it".into())?;
    until(&mut at_b, rule, |event| *event == Event::Gone(a.local_peer())).await?;
    let late = join(a, b).await;
    check(late.is_err(), "a closed network connects to nobody", || format!("{late:?}"))?;
    a.close().await.promised("closing twice is no error")?;
    b.close().await.promised(rule)
}
