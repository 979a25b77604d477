//! Answers of a transaction: each command gets its own, however the network cuts the replies, and
//! nothing is left over for the next command.

use super::resp;
use crate::engine::error::Result;
use crate::engine::redis::{Packed, RawConnection, Sent};

/// The reply to the next command.
const NEXT: &[u8] = b"+NEXT\r\n";
const ERRORS: [&str; 6] = ["ERR", "OOM", "LOADING", "EXECABORT", "MOVED 1 a:1", "READONLY"];

/// The input tells how the server answers: a byte for each choice, and the texts of the answers.
pub(crate) fn run(input: &[u8]) {
    let script = Script::new(input);
    let whole = outcome(script.count, [&script.replies[..]].into_iter());
    let in_bytes = outcome(script.count, script.replies.chunks(1));
    assert_eq!(format!("{whole:?}"), format!("{in_bytes:?}"));
    let (sent, next) = whole;
    assert_eq!(next.expect("a reply behind the transaction's"), NEXT);
    match (sent, script.expected) {
        (Ok(sent), Some((as_one, answers))) => {
            let theirs: Vec<Option<Vec<u8>>> = sent.answers.into_iter().map(Result::ok).collect();
            assert_eq!((sent.not_as_one.is_none(), theirs), (as_one, answers));
        }
        (sent, expected) => assert!(sent.is_err() && expected.is_none(), "{sent:?}, {expected:?}"),
    }
}

/// The results of a transaction of `count` commands, and of one command behind it.
fn outcome<'a>(
    count: usize,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Result<Sent>, Result<Vec<u8>>) {
    let mut connection: RawConnection = resp::connection(pieces);
    let mut commands = Packed::with_capacity(0);
    for _ in 0..count {
        commands.command("XADD", 1).arg("key");
    }
    let sent = resp::at_once(connection.send_transaction(resp::NO_LIMIT, "XADD", "key", commands));
    let command = redis::cmd("PING");
    (sent, resp::at_once(connection.send_within(resp::NO_LIMIT, "PING", "key", &command)))
}

/// Whether everything was executed as one, and each command's answer; `None` for an error.
type Answers = (bool, Vec<Option<Vec<u8>>>);

struct Script {
    count: usize,
    replies: Vec<u8>,
    /// `None` if the transaction as a whole is an error.
    expected: Option<Answers>,
}

impl Script {
    fn new(input: &[u8]) -> Self {
        let mut choices = Choices(input);
        let count = 1 + choices.of(4);
        let mut replies = Vec::new();
        let expected = if count == 1 {
            Some((true, choices.answers(count, &mut replies)))
        } else if choices.status(&mut replies) {
            choices.executed(count, &mut replies)
        } else {
            let answers = choices.answers(count, &mut replies);
            replies.extend_from_slice(b"-ERR EXEC without MULTI\r\n");
            Some((false, answers))
        };
        replies.extend_from_slice(NEXT);
        Self { count, replies, expected }
    }
}

struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn of(&mut self, count: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % count
    }

    /// Adds `+OK`, or an error; false for an error.
    fn status(&mut self, replies: &mut Vec<u8>) -> bool {
        let is_ok = self.of(4) < 3;
        if is_ok {
            replies.extend_from_slice(b"+OK\r\n");
        } else {
            self.error(replies);
        }
        is_ok
    }

    fn error(&mut self, replies: &mut Vec<u8>) {
        let code = ERRORS[self.of(ERRORS.len())];
        let words = String::from_utf8_lossy(self.0).replace(['\r', '\n'], " ");
        replies.extend_from_slice(format!("-{code} {words}\r\n").as_bytes());
    }

    /// Adds the replies to the commands behind a MULTI that the server accepted.
    fn executed(&mut self, count: usize, replies: &mut Vec<u8>) -> Option<Answers> {
        let mut is_queued = true;
        for _ in 0..count {
            is_queued &= self.status(replies);
        }
        match self.of(4) {
            2 => self.error(replies),
            3 => replies.extend_from_slice(b"*-1\r\n"),
            _ => {
                replies.extend_from_slice(format!("*{count}\r\n").as_bytes());
                let answers = self.answers(count, replies);
                return is_queued.then_some((true, answers));
            }
        }
        None
    }

    /// Adds an answer for each command: a string or an error.
    fn answers(&mut self, count: usize, replies: &mut Vec<u8>) -> Vec<Option<Vec<u8>>> {
        let mut answer = || {
            if self.of(4) == 3 {
                self.error(replies);
                return None;
            }
            let length = self.of(256).min(self.0.len());
            let text = self.0[..length].to_vec();
            replies.extend(resp::string(&text));
            Some(text)
        };
        (0..count).map(|_| answer()).collect()
    }
}
