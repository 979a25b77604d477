//! One function for each decoder of bytes from Redis, which panics if a property does not hold. The
//! fuzzers of `fuzz/` run these functions, and `cargo test` runs them over the corpus.
//!
//! - `js`: how JS decodes a message, to compare the decoders with.
//! - `resp`: makes replies of Redis, and feeds them to a connection in pieces.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a fuzzer learns of a failure; nothing of this is in the addon"
)]

mod broadcast;
mod control;
mod entry;
mod entry_id;
mod js;
mod member;
mod message;
mod msgpack;
mod page;
mod reader;
mod replies;
pub(crate) mod resp;
mod session;
mod transaction;

use std::hash::{DefaultHasher, Hasher};

/// A property of a decoder: panics if it does not hold for an input.
pub type Target = fn(&[u8]);

/// All of them; each has a binary and a corpus of its name in `fuzz/`.
pub const TARGETS: [(&str, Target); 12] = [
    ("broadcast", broadcast::run),
    ("control", control::run),
    ("entry", entry::run),
    ("entry_id", entry_id::run),
    ("member", member::run),
    ("message", message::run),
    ("msgpack", msgpack::run),
    ("page", page::run),
    ("reader", reader::run),
    ("replies", replies::run),
    ("session", session::run),
    ("transaction", transaction::run),
];

/// Runs one of [`TARGETS`].
pub fn run(name: &str, input: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a known target");
    target(input);
}

/// Separates the strings of an entry in an input.
const BETWEEN_STRINGS: u8 = 0x1f;
/// Separates entries or messages in an input.
const BETWEEN_ENTRIES: u8 = 0x1e;

fn strings(input: &[u8]) -> Vec<&[u8]> {
    input.split(|byte| *byte == BETWEEN_STRINGS).collect()
}

/// Random choices that depend on the input only.
fn dice(input: &[u8]) -> fastrand::Rng {
    let mut hasher = DefaultHasher::new();
    hasher.write(input);
    fastrand::Rng::with_seed(hasher.finish())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn folder(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(path)
    }

    /// The files in a folder; none if there is no such folder.
    fn files(path: &Path) -> Vec<PathBuf> {
        let Ok(files) = fs::read_dir(path) else { return Vec::new() };
        files.map(|file| file.unwrap().path()).collect()
    }

    fn names(path: &str) -> BTreeSet<String> {
        let name = |file: PathBuf| file.file_stem().unwrap().to_str().unwrap().to_owned();
        files(&folder(path)).into_iter().map(name).collect()
    }

    /// Fails if a property does not hold for a committed input.
    #[test]
    fn the_corpus_holds() {
        for (name, target) in TARGETS {
            let corpus = files(&folder("corpus").join(name));
            assert!(corpus.len() > 1, "{name} has no corpus");
            for file in corpus.into_iter().chain(files(&folder("regressions").join(name))) {
                let input = fs::read(&file).unwrap();
                let result = std::panic::catch_unwind(|| target(&input));
                assert!(result.is_ok(), "{name} does not hold for {}", file.display());
            }
        }
    }

    #[test]
    fn every_target_has_a_fuzzer() {
        let known: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names("fuzz_targets"), known);
        assert_eq!(names("corpus"), known);
        assert!(names("regressions").is_subset(&known));
    }
}
