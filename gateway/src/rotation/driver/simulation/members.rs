//! The other gateways that share the catalogue: they leave, return, and do not always prove what they should.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::catalogue::View;
use crate::envelope::{Claim, Kid, Proof, VersionKey};
use crate::rotation::engine::Member;
use crate::rotation::seams::{Fleet, News};

/// How a member answers a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Honest,
    /// It does not answer.
    Silent,
    /// It answers with a wrong proof.
    Wrong,
    /// Its proof comes later, as an event.
    Late,
}

/// The members, this gateway first.
#[derive(Clone)]
pub(super) struct Members(Arc<Mutex<Crew>>);

struct Crew {
    manners: BTreeMap<Member, Manner>,
    here: BTreeSet<Member>,
    news: Vec<News>,
    /// Those present when the driver last asked.
    known: BTreeSet<Member>,
    /// Those present the time before, too: of others the driver may hear only after an admission.
    bound: BTreeSet<Member>,
    /// Which member has proven which version.
    proven: BTreeSet<(Member, Kid)>,
    /// Versions proven by all when a record was replaced.
    complete: BTreeSet<Kid>,
    view: View,
}

impl Members {
    pub(super) fn new(others: usize, view: View) -> Self {
        let names = (0..=others).map(|n| {
            Member(if n == 0 {
                "self".to_owned()
            } else {
                format!("m{n}")
            })
        });
        let here: BTreeSet<_> = names.collect();
        let honest = |member: &Member| (member.clone(), Manner::Honest);
        Self(Arc::new(Mutex::new(Crew {
            manners: here.iter().map(honest).collect(),
            known: here.clone(),
            bound: here.clone(),
            here,
            news: Vec::new(),
            proven: BTreeSet::new(),
            complete: BTreeSet::new(),
            view,
        })))
    }

    pub(super) fn read_anew(&self, view: View) {
        self.crew().view = view;
    }

    /// A member other than this gateway.
    pub(super) fn other(&self, index: usize) -> Member {
        Member(format!("m{}", index + 1))
    }

    pub(super) fn leaves(&self, member: Member) {
        let mut crew = self.crew();
        if crew.here.remove(&member) {
            crew.news.push(News::Left(member));
        }
    }

    pub(super) fn returns(&self, member: Member) {
        let mut crew = self.crew();
        if crew.here.insert(member.clone()) {
            crew.news.push(News::Joined(member));
        }
    }

    pub(super) fn behaves(&self, member: Member, manner: Manner) {
        self.crew().manners.insert(member, manner);
    }

    /// To be called before a record is replaced: it may admit versions proven by every member that the driver must know of.
    pub(super) fn admits(&self) {
        let mut crew = self.crew();
        let kids: BTreeSet<Kid> = crew.proven.iter().map(|(_member, kid)| *kid).collect();
        let by_all = |kid: &Kid| {
            let mut bound = crew.bound.iter();
            bound.all(|member| crew.proven.contains(&(member.clone(), *kid)))
        };
        let complete: Vec<Kid> = kids.into_iter().filter(by_all).collect();
        crew.complete.extend(complete);
    }

    /// Whether all had proven the version when a record was replaced.
    pub(super) fn all_proven(&self, kid: Kid) -> bool {
        self.crew().complete.contains(&kid)
    }

    fn crew(&self) -> MutexGuard<'_, Crew> {
        self.0.lock().unwrap()
    }
}

impl Crew {
    /// The version's key, as the member reads it from the catalogue.
    fn key(&mut self, kid: Kid) -> Option<VersionKey> {
        self.view.refresh().ok()?;
        let (keyring, version) = self.view.find_by_kid(kid)?;
        self.view.version_key(keyring, version.number).ok()
    }
}

impl Fleet for Members {
    fn members(&self) -> Vec<Member> {
        let mut crew = self.crew();
        crew.news.clear();
        crew.known = crew.here.clone();
        crew.bound = crew.here.clone();
        crew.here.iter().cloned().collect()
    }

    fn events(&mut self) -> Vec<News> {
        let mut crew = self.crew();
        crew.bound = crew.known.intersection(&crew.here).cloned().collect();
        crew.known = crew.here.clone();
        std::mem::take(&mut crew.news)
    }

    fn prove(&self, claim: &Claim<'_>, _number: u32, key: &VersionKey) -> Option<Proof> {
        let mut crew = self.crew();
        let member = Member(claim.member.to_owned());
        let kid = key.kid();
        if member.0 == "self" {
            crew.proven.insert((member, kid));
            return Some(key.confirm(claim));
        }
        if !crew.here.contains(&member) {
            return None;
        }
        let manner = crew.manners.get(&member).copied();
        match manner.unwrap_or(Manner::Honest) {
            Manner::Silent => None,
            Manner::Wrong => Some(Proof([0; 32])),
            Manner::Honest => {
                let proof = crew.key(kid)?.confirm(claim);
                crew.proven.insert((member, kid));
                Some(proof)
            }
            Manner::Late => {
                crew.key(kid)?;
                crew.proven.insert((member.clone(), kid));
                crew.news.push(News::Proven(member, kid));
                None
            }
        }
    }
}
