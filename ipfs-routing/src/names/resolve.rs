//! Resolving: from a name to the path that it leads to, over other names.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, SystemTime},
};

use futures_core::stream::BoxStream;
use futures_util::{
    FutureExt, StreamExt,
    future::{Either, select},
    stream,
};
use ipfs_traits::{Error, Result, RuntimeExt};

use super::{
    Names, Shared,
    target::{Target, is_cid, join},
};
use crate::{
    dnslink,
    ipns::{Name, Record},
};

/// What a path in `/ipns` leads to now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolution {
    /// A path in `/ipfs` or `/ipld`, whose root is a CID. What followed the name follows it as text.
    pub path: String,
    /// How long it may be taken for the answer: the shortest time of the names on the way, and
    /// [`Duration::MAX`] for a path that no name stood in.
    pub ttl: Duration,
    /// The record of the name that was asked for, if that is an IPNS name.
    pub record: Option<Record>,
}

impl Names {
    /// What a path leads to, as it becomes known: the first answer as soon as there is one, and then
    /// another whenever a router has a better record for a name on the way. The last one counts, also
    /// when it is an error. It ends by itself.
    ///
    /// A path is `/ipns/` and an IPNS name or a domain, with names behind it or not; or that without
    /// `/ipns/`. One in `/ipfs` or `/ipld` is its own answer. Names of this node are answered with
    /// what it published, and then with what others have, if that is better; an answer that is in
    /// memory is the only one.
    ///
    /// # Errors
    ///
    /// Items may be errors. [`Error::Unresolved`] for a name of which there is no record, and a
    /// domain without DNSLink; [`Error::Limit`] for a longer chain of names than
    /// [`Options::depth`](super::Options::depth), [at](Error::At) the path where it was left;
    /// [`Error::Invalid`] for what is no path, and for a domain with several links;
    /// [`Error::Malformed`] for a record that leads to no path; [`Error::Unsupported`] for a domain
    /// where there is no resolver; [`Error::TimedOut`]; what the router, the resolver or the
    /// datastore says when nothing was found.
    ///
    /// # Cancel safety
    ///
    /// Dropping the stream ends the lookups.
    pub fn resolve(&self, path: &str) -> BoxStream<'static, Result<Resolution>> {
        self.begin(path, false)
    }

    /// What a path leads to: the best answer. Names of this node are answered with what it published,
    /// and nobody is asked.
    ///
    /// # Errors
    ///
    /// As [`resolve`](Self::resolve).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the lookups.
    pub async fn resolve_one(&self, path: &str) -> Result<Resolution> {
        let unknown = Err(Error::Unresolved(path.into()));
        self.begin(path, true).fold(unknown, async |_, item| item).await
    }

    fn begin(&self, path: &str, own_is_best: bool) -> BoxStream<'static, Result<Resolution>> {
        let path = if path.starts_with('/') { path.into() } else { format!("/ipns/{path}") };
        let walk = Walk { shared: self.0.clone(), own_is_best };
        walk.follow(&path, self.0.options.depth).unwrap_or_else(failed)
    }
}

/// One step of the way: where a name leads.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) path: String,
    pub(super) ttl: Duration,
    pub(super) record: Option<Record>,
}

/// A name with which a path in `/ipns` may begin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Root {
    Name(Name),
    /// In lower case, without the dot of the root.
    Domain(String),
}

impl Root {
    fn parse(text: &str) -> Result<Self> {
        if let Ok(name) = text.parse() {
            return Ok(Self::Name(name));
        }
        if is_cid(text) {
            let reason = "a CID in it must be of the codec libp2p-key";
            return Err(Error::invalid("IPNS name", reason));
        }
        Ok(Self::Domain(dnslink::checked(text)?.to_lowercase()))
    }
}

impl Answer {
    /// Where a record leads, until it is to be asked for again or ends.
    pub(super) fn of(record: Record, now: SystemTime) -> Result<Self> {
        let path = std::str::from_utf8(record.value()).ok();
        let path = path.filter(|path| Target::parse(path).is_ok()).map(Into::into);
        let path = path.ok_or_else(|| Error::malformed("IPNS record", "its value is no path"))?;
        let left = record.validity().duration_since(now).unwrap_or_default();
        Ok(Self { path, ttl: record.ttl().min(left), record: Some(record) })
    }
}

fn one<T: Send + 'static>(item: Result<T>) -> BoxStream<'static, Result<T>> {
    stream::iter([item]).boxed()
}

fn failed<T: Send + 'static>(error: Error) -> BoxStream<'static, Result<T>> {
    one(Err(error))
}

/// How names are followed.
#[derive(Clone)]
struct Walk {
    shared: Arc<Shared>,
    own_is_best: bool,
}

impl Walk {
    /// What a path leads to, over so many names at the most.
    fn follow(&self, path: &str, depth: usize) -> Result<BoxStream<'static, Result<Resolution>>> {
        let target = Target::parse(path)?;
        if !target.is_mutable {
            let (path, ttl, record) = (path.into(), Duration::MAX, None);
            return Ok(one(Ok(Resolution { path, ttl, record })));
        }
        let Some(depth) = depth.checked_sub(1) else {
            let limit = self.shared.options.depth;
            return Err(Error::limit("names that lead to one another", limit, limit + 1).at(path));
        };
        let answers = self.clone().answers(Root::parse(target.root)?);
        let rest = target.rest.into();
        let steps = Steps { walk: self.clone(), depth, rest, answers: Some(answers), beyond: None };
        Ok(stream::unfold(steps, async |mut steps| Some((steps.next().await?, steps))).boxed())
    }

    /// Where one name leads.
    fn answers(self, root: Root) -> BoxStream<'static, Result<Answer>> {
        async move {
            match root {
                Root::Name(name) => self.answers_of_name(name).await.unwrap_or_else(failed),
                Root::Domain(domain) => one(self.shared.answer_of_domain(domain).await),
            }
        }
        .into_stream()
        .flatten()
        .boxed()
    }

    async fn answers_of_name(self, name: Name) -> Result<BoxStream<'static, Result<Answer>>> {
        let Self { shared, own_is_best } = self;
        let own = shared.own(&name).await?;
        let kept = match &own {
            Some(own) if own_is_best => Some(Answer::of(own.clone(), shared.runtime.wall())),
            Some(_) => None,
            None => shared.kept(&Root::Name(name)).map(Ok),
        };
        if let Some(kept) = kept {
            return Ok(one(kept));
        }
        let found = shared.look_up(name, own.clone());
        let records = stream::iter(own.map(Ok)).chain(found);
        let answer = move |record: Result<Record>| Answer::of(record?, shared.runtime.wall());
        Ok(records.map(answer).boxed())
    }
}

impl Shared {
    async fn answer_of_domain(&self, domain: String) -> Result<Answer> {
        let root = Root::Domain(domain.clone());
        if let Some(kept) = self.kept(&root) {
            return Ok(kept);
        }
        let resolver = self.resolver.as_ref();
        let resolver = resolver.ok_or_else(|| Error::unsupported("resolving domains"))?;
        let link = dnslink::resolve(&**resolver, &domain);
        let link = self.runtime.timeout(self.options.resolve_timeout, "resolving a domain", link);
        let link = link.await?.ok_or(Error::Unresolved(domain))?;
        let ttl = if link.ttl == Duration::ZERO { self.options.cache_ttl } else { link.ttl };
        let answer = Answer { path: link.path, ttl, record: None };
        self.keep(root, &answer);
        Ok(answer)
    }

    fn kept(&self, root: &Root) -> Option<Answer> {
        let (now, wall) = (self.runtime.now(), self.runtime.wall());
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(root, now, wall)
    }

    pub(super) fn keep(&self, root: Root, answer: &Answer) {
        let now = self.runtime.now();
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.insert(root, answer.clone(), now);
    }
}

/// The way from one name on: where it leads, and where the newest of that leads.
struct Steps {
    walk: Walk,
    depth: usize,
    /// What followed the name.
    rest: String,
    answers: Option<BoxStream<'static, Result<Answer>>>,
    beyond: Option<Beyond>,
}

struct Beyond {
    answer: Answer,
    resolutions: BoxStream<'static, Result<Resolution>>,
}

enum Step {
    Answer(Option<Result<Answer>>),
    Resolution(Option<Result<Resolution>>),
}

impl Steps {
    async fn next(&mut self) -> Option<Result<Resolution>> {
        loop {
            match self.step().await? {
                Step::Answer(None) => self.answers = None,
                Step::Answer(Some(answer)) => {
                    // What the worse answer led to is of no use any more.
                    self.beyond = None;
                    match answer.and_then(|answer| self.go_on(answer)) {
                        Ok(beyond) => self.beyond = Some(beyond),
                        Err(error) => return Some(Err(error)),
                    }
                }
                Step::Resolution(None) => self.beyond = None,
                Step::Resolution(Some(Ok(mut resolution))) => {
                    let Answer { ttl, record, .. } = self.beyond.as_ref()?.answer.clone();
                    resolution.ttl = resolution.ttl.min(ttl);
                    return Some(Ok(Resolution { record, ..resolution }));
                }
                Step::Resolution(Some(Err(error))) => return Some(Err(error)),
            }
        }
    }

    fn go_on(&self, answer: Answer) -> Result<Beyond> {
        let resolutions = self.walk.follow(&join(&answer.path, &self.rest), self.depth)?;
        Ok(Beyond { answer, resolutions })
    }

    async fn step(&mut self) -> Option<Step> {
        match (&mut self.answers, &mut self.beyond) {
            (Some(answers), Some(beyond)) => {
                Some(match select(answers.next(), beyond.resolutions.next()).await {
                    Either::Left((answer, _)) => Step::Answer(answer),
                    Either::Right((resolution, _)) => Step::Resolution(resolution),
                })
            }
            (Some(answers), None) => Some(Step::Answer(answers.next().await)),
            (None, Some(beyond)) => Some(Step::Resolution(beyond.resolutions.next().await)),
            (None, None) => None,
        }
    }
}
