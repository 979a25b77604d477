//! What clients missed that come back. Clients share the packets: each is made once, and their
//! bytes are counted as long as anybody holds them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

use super::wire::{Data, EntryId, Packet};

/// A broadcast that a client missed.
#[derive(Debug, Clone)]
pub(crate) enum Missed {
    /// Ready to be sent, its offset included.
    Packet { id: EntryId, packet: Arc<MissedPacket> },
    /// JS decodes it, and decides whether the client missed it.
    Entry { id: EntryId, data: Data },
}

impl Missed {
    /// The entry's ID.
    pub(crate) fn id(&self) -> EntryId {
        match self {
            Self::Packet { id, .. } | Self::Entry { id, .. } => *id,
        }
    }
}

/// The broadcasts that a client missed, in order, until JS takes them.
#[derive(Debug)]
pub(crate) struct MissedList {
    list: Vec<Missed>,
    bytes: Arc<MissedBytes>,
}

impl MissedList {
    pub(crate) fn new(list: Vec<Missed>, bytes: &Arc<MissedBytes>) -> Self {
        bytes.answers.fetch_add(1, Ordering::Relaxed);
        Self { list, bytes: bytes.clone() }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Missed> {
        self.list.iter()
    }

    /// The broadcast at this place.
    pub(crate) fn get(&self, place: usize) -> Option<&Missed> {
        self.list.get(place)
    }

    /// Size in bytes, without the packets.
    pub(crate) fn size(&self) -> usize {
        self.list.len() * size_of::<Missed>()
    }
}

impl Drop for MissedList {
    fn drop(&mut self) {
        self.list.clear();
        self.bytes.answers.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fell.notify_waiters();
    }
}

/// A packet that several clients may have missed.
#[derive(Debug)]
pub(crate) struct MissedPacket {
    pub(crate) packet: Packet,
    bytes: Arc<MissedBytes>,
}

impl MissedPacket {
    fn new(packet: Packet, bytes: &Arc<MissedBytes>) -> Self {
        bytes.held.fetch_add(packet.heap(), Ordering::Relaxed);
        Self { packet, bytes: bytes.clone() }
    }
}

impl Drop for MissedPacket {
    fn drop(&mut self) {
        self.bytes.held.fetch_sub(self.packet.heap(), Ordering::Relaxed);
        self.bytes.fell.notify_waiters();
    }
}

/// Counts the bytes of all packets that restores hold, up to the moment when JS takes them.
#[derive(Debug, Default)]
pub(crate) struct MissedBytes {
    held: AtomicUsize,
    /// How many answers JS has not taken yet.
    answers: AtomicUsize,
    /// Notifies when there are fewer bytes or answers.
    pub(crate) fell: Notify,
}

impl MissedBytes {
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether JS has taken all answers.
    pub(crate) fn are_taken(&self) -> bool {
        self.answers.load(Ordering::Relaxed) == 0
    }
}

/// The packet of one broadcast, while a restore holds it.
#[derive(Debug, Default)]
pub(crate) struct SharedPacket(Mutex<Weak<MissedPacket>>);

impl SharedPacket {
    /// The packet that another restore holds, or else a new one. `None` if it cannot be made.
    pub(crate) fn get(
        &self,
        bytes: &Arc<MissedBytes>,
        make: impl FnOnce() -> Option<Packet>,
    ) -> Option<Arc<MissedPacket>> {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(packet) = shared.upgrade() {
            return Some(packet);
        }
        let packet = Arc::new(MissedPacket::new(make()?, bytes));
        *shared = Arc::downgrade(&packet);
        Some(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_made_once_and_counted_while_it_is_held() {
        let (bytes, shared) = (Arc::new(MissedBytes::default()), SharedPacket::default());
        let packet = || Some(Packet { text: "2[\"hello\"]".to_owned(), attachments: Vec::new() });
        let first = shared.get(&bytes, packet).unwrap();
        let second = shared.get(&bytes, || unreachable!()).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        let held = bytes.held();
        assert!(held >= first.packet.text.len());
        drop(first);
        assert_eq!(bytes.held(), held);
        drop(second);
        assert_eq!(bytes.held(), 0);
        assert!(shared.get(&bytes, || None).is_none());
    }
}
