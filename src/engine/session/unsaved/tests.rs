use super::*;
use crate::engine::address::Address;
use crate::engine::redis::Target;
use crate::engine::session::keys::SessionKeys;
use crate::engine::session::save::{LARGE, What};

const KEEP: Duration = Duration::from_secs(60);

fn unsaved() -> Unsaved {
    let lanes = Lanes::new(Box::new(|_| None));
    Unsaved::new(1 << 30, Backoff::new(Some(0), Duration::ZERO), lanes)
}

fn save(pid: &str, what: What) -> Save {
    Save::new(SessionKeys::new("sio:session:", "/", pid), 1, what, KEEP)
}

fn ended(pid: &str, size: usize) -> Save {
    save(pid, What::Ended { session: vec![0; size], keep: KEEP })
}

fn live(pid: &str, size: usize) -> Save {
    save(pid, What::Live { namespace: 0, session: vec![0; size], keep: KEEP, is_new: false })
}

/// Each client's key is in the list that its place names, once, and in no other one.
fn check(unsaved: &Unsaved) {
    let (away, refused) = (unsaved.away.keys(), unsaved.refused.keys());
    let count = |keys: &VecDeque<String>, key: &String| keys.iter().filter(|it| *it == key).count();
    let in_lanes = unsaved.lanes.keys();
    for (key, client) in &unsaved.clients {
        let counts = [&in_lanes, away, refused].map(|keys| count(keys, key));
        let expected = match client.place {
            Place::Lanes => [1, 0, 0],
            Place::Away => [0, 1, 0],
            Place::Refused => [0, 0, 1],
            Place::BeingSaved(_) => [0, 0, 0],
        };
        assert_eq!(counts, expected, "{key}");
    }
    let keys = in_lanes.iter().chain(away).chain(refused);
    keys.for_each(|key| assert!(unsaved.clients.contains_key(key), "{key}"));
}

/// The saves that go to the only server.
fn take(unsaved: &mut Unsaved) -> Vec<Save> {
    let mut rounds = unsaved.take().0;
    assert!(rounds.len() <= 1);
    rounds.pop().unwrap_or_default()
}

fn waiting(unsaved: &Unsaved) -> u64 {
    unsaved.of_gone.count.load(Ordering::Relaxed)
}

#[tokio::test]
async fn a_large_session_goes_alone_and_the_others_in_parts() {
    let mut unsaved = unsaved();
    for (pid, size) in [("a", 100_000), ("b", 100_000), ("c", 3 << 20), ("d", 10), ("e", 10)] {
        unsaved.push(ended(pid, size));
    }
    let mut parts = Vec::new();
    while !unsaved.is_empty() {
        let saves = take(&mut unsaved);
        saves.iter().for_each(|save| assert!(unsaved.done(save).is_empty()));
        parts.push(saves.iter().map(|save| save.keys.pid.clone()).collect::<String>());
    }
    assert_eq!(parts, ["ab", "c", "de"]);
    assert_eq!(waiting(&unsaved), 0);
}

#[tokio::test]
async fn a_session_that_changes_again_and_again_is_given_up_all_the_same() {
    let mut unsaved = unsaved();
    unsaved.push(live("a", LARGE));
    for _ in 0..3 {
        unsaved.release();
        let mut saves = take(&mut unsaved);
        unsaved.push(live("a", LARGE));
        let tried = saves.pop().unwrap();
        assert!(!tried.is_too_large());
        tried.breaks.fetch_add(1, Ordering::Relaxed);
        unsaved.failed(tried, false);
    }
    unsaved.release();
    let saves = take(&mut unsaved);
    assert!(saves[0].is_too_large());
    assert_eq!(waiting(&unsaved), 0, "its client is connected");
}

#[tokio::test(start_paused = true)]
async fn counts_the_sessions_of_clients_that_have_gone() {
    let mut unsaved = unsaved();
    unsaved.push(live("a", 1));
    unsaved.push(ended("a", 1));
    unsaved.push(ended("b", 1));
    assert_eq!(waiting(&unsaved), 2);
    let saves = take(&mut unsaved);
    saves.into_iter().for_each(|save| unsaved.failed(save, false));
    assert_eq!(waiting(&unsaved), 2);
    tokio::time::advance(2 * KEEP).await;
    let saves = take(&mut unsaved);
    assert_eq!(waiting(&unsaved), 0, "nobody needs them any more");
    for save in saves {
        assert!(matches!(save.what, What::Left), "the record would show an earlier state");
        unsaved.done(&save);
    }
    assert!(unsaved.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_waits_for_itself() {
    let mut unsaved = unsaved();
    unsaved.push(live("a", 1));
    unsaved.push(live("b", 1));
    for save in take(&mut unsaved) {
        unsaved.failed(save, true);
    }
    unsaved.push(live("c", 1));
    for save in take(&mut unsaved) {
        assert_eq!(save.keys.pid, "c");
        unsaved.done(&save);
    }
    assert!(take(&mut unsaved).is_empty(), "c tells nothing about them");
    tokio::time::sleep_until(unsaved.due().unwrap()).await;
    let mut both = take(&mut unsaved);
    unsaved.failed(both.pop().unwrap(), true);
    assert!(take(&mut unsaved).is_empty());
    unsaved.done(&both.pop().unwrap());
    assert_eq!(take(&mut unsaved).len(), 1, "the other one may be taken now, too");
}

#[tokio::test]
async fn what_was_given_up_takes_its_record_away_unless_a_later_save_tells_more() {
    for is_last in [true, false] {
        let mut unsaved = unsaved();
        unsaved.push(live("a", 1));
        let saves = take(&mut unsaved);
        if !is_last {
            unsaved.push(ended("a", 1));
        }
        unsaved.give_up(&saves[0]);
        let saves = take(&mut unsaved);
        assert_eq!(matches!(saves[0].what, What::Left), is_last);
        unsaved.done(&saves[0]);
        assert!(unsaved.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_is_in_one_place_at_a_time() {
    let mut unsaved = unsaved();
    let mut random = fastrand::Rng::with_seed(1);
    let mut under_way: Vec<Save> = Vec::new();
    for _ in 0..2_000 {
        let pid = random.u8(0..6).to_string();
        match random.u8(0..8) {
            0 => unsaved.push(live(&pid, 1)),
            1 => unsaved.push(ended(&pid, 1)),
            2 => unsaved.push(save(&pid, What::Left)),
            3 => under_way.extend(take(&mut unsaved)),
            4 => unsaved.release(),
            5 => tokio::time::advance(KEEP / 8).await,
            _ => {}
        }
        if !under_way.is_empty() && random.bool() {
            let ended = under_way.swap_remove(random.usize(..under_way.len()));
            match random.u8(0..4) {
                0 => drop(unsaved.done(&ended)),
                1 => drop(unsaved.give_up(&ended)),
                next => unsaved.failed(ended, next == 2),
            }
        }
        check(&unsaved);
    }
}

#[tokio::test]
async fn each_server_gets_a_round_when_its_own_last_one_has_ended() {
    let lanes = Lanes::new(Box::new(|key| {
        let host = key.ends_with('b').then(|| "b".to_owned());
        host.map(|host| Target::Node { address: Address::Tcp(host, 1), asking: false })
    }));
    let mut unsaved = Unsaved::new(1 << 30, Backoff::new(Some(0), Duration::ZERO), lanes);
    unsaved.push(live("a", 1));
    unsaved.push(live("b", 1));
    let (first, _) = unsaved.take();
    assert_eq!(first.len(), 2);
    for pid in ["1a", "2a", "1b", "2b"] {
        unsaved.push(live(pid, 1));
    }
    assert!(unsaved.take().0.is_empty());
    let [of_b] = first.iter().flatten().filter(|save| save.keys.pid == "b").collect::<Vec<_>>()[..]
    else {
        panic!();
    };
    unsaved.done(of_b);
    let [second] = &unsaved.take().0[..] else { panic!() };
    assert_eq!(second.iter().map(|save| &save.keys.pid).collect::<Vec<_>>(), ["1b", "2b"]);
}

#[tokio::test(start_paused = true)]
async fn where_no_record_was_written_none_is_taken_away() {
    let mut unsaved = unsaved();
    let new = |pid: &str| {
        let what = What::Live { namespace: 0, session: vec![0], keep: KEEP, is_new: true };
        save(pid, what)
    };
    // b was sent, and may have arrived.
    for pid in ["a", "b", "c"] {
        unsaved.push(new(pid));
    }
    for live in take(&mut unsaved) {
        live.has_record.store(live.keys.pid == "b", Ordering::Relaxed);
        unsaved.failed(live, false);
    }
    unsaved.push(ended("a", 1));
    unsaved.push(ended("b", 1));
    unsaved.push(save("c", What::Left));
    for _ in 0..2 {
        unsaved.release();
        let saves = take(&mut unsaved);
        let pids: String = saves.iter().map(|save| save.keys.pid.as_str()).collect();
        assert_eq!(pids, "ab");
        saves.into_iter().for_each(|save| unsaved.failed(save, false));
    }
    tokio::time::advance(2 * KEEP).await;
    unsaved.release();
    let saves = take(&mut unsaved);
    assert!(saves.len() == 1 && saves[0].is_left() && saves[0].keys.pid == "b");
    unsaved.done(&saves[0]);
    assert!(unsaved.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_counts_no_more_although_only_some_is_tried_at_a_time() {
    let mut unsaved = unsaved();
    (0..3 * AT_A_TIME).for_each(|client| unsaved.push(ended(&client.to_string(), 1)));
    for _ in 0..3 {
        take(&mut unsaved).into_iter().for_each(|save| unsaved.failed(save, false));
    }
    tokio::time::advance(2 * KEEP).await;
    unsaved.take();
    assert_eq!((waiting(&unsaved), unsaved.of_gone.bytes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn records_that_are_to_be_taken_away_have_a_bound() {
    let mut unsaved =
        Unsaved { of_gone: OfGone { bound: 10 * OVERHEAD, ..unsaved().of_gone }, ..unsaved() };
    for client in 0..20 {
        unsaved.push(save(&client.to_string(), What::Left));
    }
    assert!(unsaved.of_gone.has_room_for(&ended("a", 1)), "they take no room of sessions");
    let saves = take(&mut unsaved);
    assert_eq!(saves.len(), 10);
    saves.iter().for_each(|save| drop(unsaved.done(save)));
    assert!(unsaved.is_empty() && unsaved.of_gone.bytes_of_left == 0);
}
