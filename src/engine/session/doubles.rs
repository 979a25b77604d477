//! Entries that double some from before this node began to read. The reader knows an entry as a double
//! only if it has met both. A client may come back that has received the first of them at another node.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::error::Result;
use crate::engine::redis::RoutedCommands;
use crate::engine::stream::{Step, Stream, WriterSequences, read_backwards};
use crate::engine::wire::{EntryId, Origin, fields_of, parse_entry};

/// The most entries to look at, about the most bytes, and about the longest time: what a writer sends
/// twice, it sends again within seconds, and clients wait meanwhile.
const MOST_ENTRIES: usize = 20_000;
const MOST_BYTES: usize = 16 << 20;
const MOST_TIME: Duration = Duration::from_secs(1);

/// Reads what the stream holds up to the position, and notes which entries are doubles, also for the
/// reader. Calls `progressed` after each page.
pub(super) async fn find_doubles(
    commands: &mut RoutedCommands,
    stream: &Stream,
    progressed: impl Fn(),
) -> Result<()> {
    let mut origins: Vec<(EntryId, Origin)> = Vec::new();
    let (mut entries, mut bytes) = (0, 0);
    let start = Instant::now();
    let mut next = Some(stream.cursor().position);
    while let Some(last) = next {
        if entries >= MOST_ENTRIES || bytes >= MOST_BYTES || start.elapsed() >= MOST_TIME {
            break;
        }
        let count = stream.page_of(&stream.restore_pages);
        let read = read_backwards(commands, &stream.key, last, count).await;
        let page = read.inspect_err(|error| stream.restore_pages.failed(count, error))?;
        progressed();
        entries += page.len();
        bytes += page.iter().map(|raw| raw.bytes()).sum::<usize>();
        origins.extend(page.iter().filter_map(|raw| {
            let entry = parse_entry(raw.id, fields_of(&raw.fields)).ok()?;
            Some((raw.id, entry.origin?))
        }));
        let earliest = page.last().filter(|_| page.len() == count);
        next = earliest.and_then(|raw| raw.id.before());
    }
    stream.restore_pages.worked();
    let mut sequences = WriterSequences::default();
    let (mut firsts, mut doubles) = (HashMap::new(), Vec::new());
    for (id, origin) in origins.into_iter().rev() {
        let name = (origin.writer, origin.seq);
        if sequences.step(origin) == Step::Duplicate {
            doubles.push((id, firsts.get(&name).copied().unwrap_or(EntryId::ZERO)));
        } else {
            firsts.insert(name, id);
        }
    }
    let mut cursor = stream.cursor();
    doubles.into_iter().for_each(|(id, first)| cursor.doubles.note(id, first));
    // Others may come yet.
    cursor.sequences.learn(&sequences);
    Ok(())
}
