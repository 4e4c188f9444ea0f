//! Requests that are remembered by their reply subjects.

use super::*;
use crate::clock::Clock;
use crate::dataplane::memory::{MOST, MemoryPool};
use crate::envelope::{EnvelopeId, LaneId};
use crate::policy::{Policy, Rule};

/// More requests than a table keeps.
const FLOOD: u32 = 4 * 14_336;

fn keyrings() -> [KeyringId; 2] {
    let rule = |name: &str| Rule {
        name: name.parse().unwrap(),
        subjects: vec![format!("{name}.>").parse().unwrap()],
        ..Rule::everything()
    };
    let policy = Policy::new(vec![rule("a"), rule("b")], &[]).unwrap();
    ["a", "b"].map(|name| policy.by_name(name).unwrap())
}

fn start() -> (Replies, Instant) {
    let reservation = MemoryPool::new(MOST).open();
    (Replies::new(&reservation), Clock::system().instant())
}

const fn id(counter: u32) -> EnvelopeId {
    EnvelopeId {
        lane: LaneId([1; 16]),
        counter,
    }
}

const INBOX: &[u8] = b"_INBOX.x.1";

#[test]
fn latest_request_that_can_be_told_from_others_is_the_one_that_is_answered() {
    let [a, b] = keyrings();
    let [one, two] = [1, 2].map(|counter| DeliveredRequest::Sealed(a, id(counter)));
    let empty = DeliveredRequest::Empty(a);
    let passed_on = DeliveredRequest::PassedOn(a, id(3));
    let plain = DeliveredRequest::Plain;
    let other = [
        DeliveredRequest::Sealed(b, id(1)),
        DeliveredRequest::Empty(b),
        DeliveredRequest::PassedOn(b, id(3)),
        plain,
    ];
    let bound = |counter| Ok(Answer::Sealed(a, Some(id(counter))));
    let unbound = Ok(Answer::Sealed(a, None));
    let nothing = Ok(Answer::Sealed(a, Some(EnvelopeId::EMPTY)));
    // The known request, whether it has been answered, the delivered request, and the answer then.
    let mut rows = vec![
        (one, false, one, bound(1)),
        (one, false, two, bound(2)),
        (one, false, empty, Err(ReplySubjectInUse)),
        (one, false, passed_on, bound(1)),
        (one, true, one, bound(1)),
        (one, true, two, bound(2)),
        (one, true, empty, nothing),
        (one, true, passed_on, bound(1)),
    ];
    for answered in [false, true] {
        for waits in [empty, passed_on] {
            rows.push((waits, answered, two, bound(2)));
            rows.push((waits, answered, passed_on, unbound));
        }
        rows.push((empty, answered, empty, nothing));
        rows.push((passed_on, answered, empty, unbound));
        for waits in [one, empty, passed_on] {
            rows.extend(other.map(|comes| (waits, answered, comes, Err(ReplySubjectInUse))));
        }
        rows.push((plain, answered, two, bound(2)));
        rows.push((plain, answered, empty, nothing));
        rows.push((plain, answered, passed_on, unbound));
        rows.push((plain, answered, plain, Ok(Answer::Plain)));
    }
    for (waits, answered, comes, expected) in rows {
        let (mut replies, now) = start();
        replies.request_delivered(INBOX, waits, now).unwrap();
        if answered {
            replies.answer_to(INBOX);
        }
        let met = replies.request_delivered(INBOX, comes, now);
        let row = format!("{waits:?} {answered} {comes:?}");
        assert_eq!(met, expected.map(|_| ()), "{row}");
        if let Ok(answer) = expected {
            assert_eq!(replies.answer_to(INBOX), answer, "{row}");
        }
    }
}

#[test]
fn envelope_that_came_as_a_request_with_one_reply_subject_is_none_with_another() {
    let [a, _] = keyrings();
    let requests = [
        DeliveredRequest::Sealed(a, id(1)),
        DeliveredRequest::PassedOn(a, id(1)),
    ];
    for (first, again) in requests.iter().zip(requests.iter().rev()) {
        let (mut replies, now) = start();
        replies.request_delivered(INBOX, *first, now).unwrap();
        for comes in [first, again] {
            let met = replies.request_delivered(b"_INBOX.y.1", *comes, now);
            assert_eq!(met, Err(ReplySubjectInUse), "{first:?} {comes:?}");
            assert_eq!(replies.answer_to(b"_INBOX.y.1"), Answer::Unknown);
        }
        replies.request_delivered(INBOX, *first, now).unwrap();
    }
}

/// Sends as many requests as make a table forget, each of another requester.
fn flood(
    replies: &mut Replies,
    name: &str,
    request: impl Fn(u32) -> DeliveredRequest,
    now: Instant,
) {
    for number in 0..FLOOD {
        let reply = format!("_INBOX.{name}.{number}");
        replies
            .request_delivered(reply.as_bytes(), request(number), now)
            .unwrap();
    }
}

/// Sends requests of a keyring so late that all earlier ones have expired; the time of the last.
fn later(replies: &mut Replies, keyring: KeyringId, now: Instant) -> Instant {
    let after = |hours| {
        now.checked_add(std::time::Duration::from_hours(hours))
            .unwrap()
    };
    for number in 1..4 {
        let reply = format!("_INBOX.later.{keyring:?}.{number}");
        let request = DeliveredRequest::Sealed(keyring, id(number));
        replies
            .request_delivered(reply.as_bytes(), request, after(u64::from(number)))
            .unwrap();
    }
    after(4)
}

#[test]
fn flood_of_one_keyring_or_of_plaintext_forgets_no_request_of_another() {
    let [a, b] = keyrings();
    let (mut replies, now) = start();
    replies
        .request_delivered(INBOX, DeliveredRequest::Sealed(a, id(1)), now)
        .unwrap();
    flood(
        &mut replies,
        "b",
        |n| DeliveredRequest::Sealed(b, id(n)),
        now,
    );
    flood(&mut replies, "plain", |_| DeliveredRequest::Plain, now);
    assert_eq!(replies.answer_to(INBOX), Answer::Sealed(a, Some(id(1))));
}

#[test]
fn flood_of_requests_that_are_answered_forgets_none_that_waits() {
    let [a, _] = keyrings();
    let (mut replies, now) = start();
    replies
        .request_delivered(INBOX, DeliveredRequest::Sealed(a, id(0)), now)
        .unwrap();
    for number in 0..FLOOD {
        let reply = format!("_INBOX.flood.{number}");
        let request = DeliveredRequest::Sealed(a, id(number + 1));
        replies
            .request_delivered(reply.as_bytes(), request, now)
            .unwrap();
        replies.answer_to(reply.as_bytes());
    }
    assert_eq!(replies.answer_to(INBOX), Answer::Sealed(a, Some(id(0))));
}

#[test]
fn answer_to_a_forgotten_request_is_sealed_under_its_own_keyring_whatever_was_asked_last() {
    let [a, b] = keyrings();
    let (mut replies, now) = start();
    for (number, reply) in (10..).zip([INBOX, b"inbox.of.my.own.1"]) {
        replies
            .request_delivered(reply, DeliveredRequest::Sealed(a, id(number)), now)
            .unwrap();
    }
    let now = later(&mut replies, a, now);
    let last = DeliveredRequest::Sealed(b, id(1));
    replies.request_delivered(b"_INBOX.x.2", last, now).unwrap();
    for reply in [INBOX, b"inbox.of.my.own.1"] {
        assert_eq!(replies.answer_to(reply), Answer::Sealed(a, None));
    }
    assert_eq!(replies.answer_to(b"elsewhere.1"), Answer::Unknown);
}

#[test]
fn answer_that_may_be_owed_under_two_keyrings_is_unclear() {
    let [a, b] = keyrings();
    let (mut replies, mut now) = start();
    for (keyring, reply) in [(a, b"_INBOX.x.1"), (b, b"_INBOX.x.2")] {
        let request = DeliveredRequest::Sealed(keyring, id(0));
        replies.request_delivered(reply, request, now).unwrap();
        now = later(&mut replies, keyring, now);
    }
    assert_eq!(replies.answer_to(b"_INBOX.x.1"), Answer::Unclear);
    assert_eq!(replies.answer_to(b"_INBOX.x.2"), Answer::Unclear);
    assert_eq!(replies.answer_to(b"_INBOX.other.2"), Answer::Unknown);
}

#[test]
fn plaintext_request_that_names_what_was_sealed_and_forgotten_is_answered_sealed() {
    let [a, _] = keyrings();
    let (mut replies, now) = start();
    replies
        .request_delivered(INBOX, DeliveredRequest::Sealed(a, id(0)), now)
        .unwrap();
    let now = later(&mut replies, a, now);
    let elsewhere = b"_INBOX.plain.1";
    for reply in [INBOX, elsewhere] {
        replies
            .request_delivered(reply, DeliveredRequest::Plain, now)
            .unwrap();
    }
    assert_eq!(replies.answer_to(INBOX), Answer::Sealed(a, None));
    assert_eq!(replies.answer_to(elsewhere), Answer::Plain);
}

#[test]
fn first_request_of_several_on_a_reply_subject_is_the_one_that_answers_are_bound_to() {
    let [a, b] = keyrings();
    let (mut replies, now) = start();
    assert!(!replies.is_shared(INBOX, now));
    replies.request_published(INBOX, PublishedRequest::protected(a, Some(id(1))), now);
    assert!(replies.is_shared(INBOX, now));
    replies.request_published(INBOX, PublishedRequest::protected(a, None), now);
    let asked = *replies.request_on(INBOX, now).unwrap();
    assert_eq!(asked.requests(), [Some(id(1)), None]);
    assert_eq!(asked.keyring(), Some(a));
    replies.request_published(INBOX, PublishedRequest::protected(b, None), now);
    assert_eq!(replies.request_on(INBOX, now).unwrap().keyring(), None);
}

/// The answer says which of the two it answers.
#[test]
fn empty_request_beside_a_sealed_one_may_be_answered_too() {
    let [a, _] = keyrings();
    let (sealed, empty) = (Some(id(1)), Some(EnvelopeId::EMPTY));
    // A second sealed request has the flag for a shared reply subject: its answer is bound to no request.
    for (order, bound) in [([sealed, empty], sealed), ([empty, None], None)] {
        let (mut replies, now) = start();
        for request in order {
            replies.request_published(INBOX, PublishedRequest::protected(a, request), now);
        }
        let asked = replies.request_on(INBOX, now).unwrap();
        assert_eq!(asked.requests(), [bound, empty]);
    }
}

#[test]
fn whatever_may_answer_one_of_several_requests_may_come() {
    let [a, _] = keyrings();
    let (mut replies, now) = start();
    replies.request_published(INBOX, PublishedRequest::of(Class::Pull), now);
    replies.request_published(INBOX, PublishedRequest::protected(a, Some(id(7))), now);
    replies.request_published(
        INBOX,
        PublishedRequest::stored(Class::DirectGet, Some(3)),
        now,
    );
    let asked = replies.request_on(INBOX, now).unwrap();
    assert!(asked.is(Class::Pull) && asked.is(Class::Protected) && asked.is(Class::DirectGet));
    assert!(!asked.is(Class::Unprotected));
    assert_eq!(asked.requests(), [Some(id(7)), None]);
    assert_eq!(asked.named(), None);
}

#[test]
fn reply_subject_that_was_given_is_passed_on() {
    let [a, _] = keyrings();
    let (mut replies, now) = start();
    replies
        .request_delivered(INBOX, DeliveredRequest::Sealed(a, id(1)), now)
        .unwrap();
    assert!(replies.is_shared(INBOX, now) && !replies.is_shared(b"_INBOX.own.1", now));
    // A sealed request with it counts as the client's own, also one that may be for JetStream's API.
    let asked = PublishedRequest::protected(a, Some(id(2))).with_unknown_api_prefix();
    replies.request_published(INBOX, asked, now);
    assert!(replies.request_on(INBOX, now).is_some());
}

#[test]
fn all_messages_of_a_fast_batch_are_one_entry() {
    let (mut replies, now) = start();
    let reply = |number: u32| format!("_INBOX.abc.uuid.10.ok.{number}.1.$FI");
    for number in 0..3 {
        replies.request_published(
            reply(number).as_bytes(),
            PublishedRequest::of(Class::Unprotected),
            now,
        );
    }
    let asked = replies.request_on(reply(7000).as_bytes(), now);
    assert_eq!(asked, Some(&PublishedRequest::of(Class::Unprotected)));
    assert_eq!(fast_batch_subject(b"a.$FI"), b"a.$FI");
    assert_eq!(fast_batch_subject(b".$FI"), b".$FI");
}

#[test]
fn destinations_of_traces_that_came_in_are_known_and_too_many_are_all() {
    let (mut replies, _now) = start();
    assert!(!replies.was_trace_delivered(b"a.b"));
    replies.trace_delivered(b"a.b");
    assert!(replies.was_trace_delivered(b"a.b") && !replies.was_trace_delivered(b"a.c"));
    for number in 0..=TRACES {
        replies.trace_delivered(format!("t.{number}").as_bytes());
    }
    assert!(replies.was_trace_delivered(b"a.c"));
}

#[test]
fn memory_of_a_connection_that_asks_a_million_times_is_bounded() {
    let [a, _] = keyrings();
    let reservation = MemoryPool::new(usize::MAX).open();
    let (mut replies, now) = (Replies::new(&reservation), Clock::system().instant());
    for number in 0..1_000_000 {
        let reply = format!("_INBOX.asks.{number}");
        replies.request_published(
            reply.as_bytes(),
            PublishedRequest::protected(a, Some(id(number))),
            now,
        );
    }
    assert!(
        reservation.held() <= 1_500_000,
        "{} bytes",
        reservation.held()
    );
}
