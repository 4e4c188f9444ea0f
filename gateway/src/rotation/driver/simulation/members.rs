//! The other gateways that share the catalogue: they leave, return, and do not always prove what they should.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::catalogue::View;
use crate::envelope::{Claim, Kid, Proof, VersionKey};
use crate::fleet::{Fleet, FleetEvent, Member};
use crate::later::wait;
use crate::rotation::driver::testing::Backlog;

/// How a member answers a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
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
pub(super) struct Members(Arc<Mutex<MembersState>>);

struct MembersState {
    behaviours: BTreeMap<Member, Behaviour>,
    present: BTreeSet<Member>,
    news: Vec<FleetEvent>,
    /// Those present when the driver last asked.
    known: BTreeSet<Member>,
    /// Those present the time before, too: of others the driver may hear only after an admission.
    required: BTreeSet<Member>,
    /// Which member has proven which version.
    proven: BTreeSet<(Member, Kid)>,
    /// Versions proven by all when a record was replaced.
    proven_by_all: BTreeSet<Kid>,
    view: View,
    backlog: Backlog,
}

impl Members {
    pub(super) fn new(others: usize, view: View, backlog: &Backlog) -> Self {
        let names = (0..=others).map(|n| {
            Member(if n == 0 {
                "self".to_owned()
            } else {
                format!("m{n}")
            })
        });
        let present: BTreeSet<_> = names.collect();
        let honest = |member: &Member| (member.clone(), Behaviour::Honest);
        Self(Arc::new(Mutex::new(MembersState {
            behaviours: present.iter().map(honest).collect(),
            known: present.clone(),
            required: present.clone(),
            present,
            news: Vec::new(),
            proven: BTreeSet::new(),
            proven_by_all: BTreeSet::new(),
            view,
            backlog: backlog.clone(),
        })))
    }

    pub(super) fn set_view(&self, view: View) {
        self.state().view = view;
    }

    /// A member other than this gateway.
    pub(super) fn other(&self, index: usize) -> Member {
        Member(format!("m{}", index + 1))
    }

    pub(super) fn leave(&self, member: Member) {
        let mut state = self.state();
        if state.present.remove(&member) {
            state.news.push(FleetEvent::Left(member));
        }
    }

    pub(super) fn rejoin(&self, member: Member) {
        let mut state = self.state();
        if state.present.insert(member.clone()) {
            state.news.push(FleetEvent::Joined(member));
        }
    }

    pub(super) fn set_behaviour(&self, member: Member, behaviour: Behaviour) {
        self.state().behaviours.insert(member, behaviour);
    }

    /// To be called before a record is replaced: it may admit versions proven by every member that the driver must know of.
    pub(super) fn before_replace(&self) {
        let mut state = self.state();
        let kids: BTreeSet<Kid> = state.proven.iter().map(|(_member, kid)| *kid).collect();
        let by_all = |kid: &Kid| {
            let mut required = state.required.iter();
            required.all(|member| state.proven.contains(&(member.clone(), *kid)))
        };
        let proven_by_all: Vec<Kid> = kids.into_iter().filter(by_all).collect();
        state.proven_by_all.extend(proven_by_all);
    }

    /// Whether all had proven the version when a record was replaced.
    pub(super) fn were_all_proven(&self, kid: Kid) -> bool {
        self.state().proven_by_all.contains(&kid)
    }

    fn state(&self) -> MutexGuard<'_, MembersState> {
        self.0.lock().unwrap()
    }
}

impl MembersState {
    /// The version's key, as the member reads it from the catalogue.
    fn key(&mut self, kid: Kid) -> Option<VersionKey> {
        self.view.refresh().ok()?;
        let (keyring, version) = self.view.find_by_kid(kid)?;
        wait(self.view.version_key(keyring, version.number)).ok()
    }
}

impl Fleet for Members {
    fn members(&self) -> Vec<Member> {
        let mut state = self.state();
        state.news.clear();
        state.known = state.present.clone();
        state.required = state.present.clone();
        state.present.iter().cloned().collect()
    }

    fn events(&mut self) -> Vec<FleetEvent> {
        let mut state = self.state();
        // An admission that is under way was decided on with the members of then.
        let before = if state.backlog.len() == 0 {
            &state.known
        } else {
            &state.required
        };
        state.required = before.intersection(&state.present).cloned().collect();
        state.known = state.present.clone();
        std::mem::take(&mut state.news)
    }

    fn prove(&self, claim: &Claim<'_>, _number: u32, key: &VersionKey) -> Option<Proof> {
        let mut state = self.state();
        let member = Member(claim.member.to_owned());
        let kid = key.kid();
        if member.0 == "self" {
            state.proven.insert((member, kid));
            return Some(key.confirm(claim));
        }
        if !state.present.contains(&member) {
            return None;
        }
        let behaviour = state.behaviours.get(&member).copied();
        match behaviour.unwrap_or(Behaviour::Honest) {
            Behaviour::Silent => None,
            Behaviour::Wrong => Some(Proof([0; 32])),
            Behaviour::Honest => {
                let proof = state.key(kid)?.confirm(claim);
                state.proven.insert((member, kid));
                Some(proof)
            }
            Behaviour::Late => {
                state.key(kid)?;
                state.proven.insert((member.clone(), kid));
                state.news.push(FleetEvent::Proven(member, kid));
                None
            }
        }
    }
}
