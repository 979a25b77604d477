//! A slice of events on its way to JS. The frequent ones are packed, since each property of an
//! object that N-API makes costs more than handling it; `lib/events.js` unpacks them.

use napi::bindgen_prelude::{Buffer, Float64Array};
use napi_derive::napi;

use super::event::NativeEvent;
use crate::engine::event::{Completion, Event, Local, StreamEvent};
use crate::engine::wire::{BroadcastHead, EntryId, Flags, Packet, Room, text_frame};

/// What comes next in a batch, as `lib/events.js` knows it.
enum Kind {
    Rare = 0,
    Broadcast = 1,
    Published = 2,
}

/// What is left to do locally about a publish, as `lib/events.js` knows it.
enum LocalPart {
    ByJs = 0,
    ForNobody = 1,
    Packet = 2,
}

/// Most bytes of texts in a slab with more than one.
const SLAB: usize = 16 << 10;

/// Bits of a broadcast's flags.
const VOLATILE: u8 = 1;
const COMPRESS_SAID: u8 = 2;
const COMPRESS: u8 = 4;

/// A slice of events.
#[napi(object, object_from_js = false)]
pub struct NativeBatch {
    /// The events in order, as numbers.
    pub numbers: Float64Array,
    /// Names of rooms, one behind the other.
    pub names: String,
    /// The texts of packets, in slabs: one behind the other.
    pub texts: Vec<String>,
    /// Their WebSocket frames, in slabs as well. There is none for a packet with attachments.
    pub frames: Vec<Buffer>,
    /// Their attachments, one behind the other.
    pub attachments: Option<Buffer>,
    /// Events of all other kinds.
    pub rare: Vec<NativeEvent>,
}

/// Packs events.
#[derive(Default)]
pub(crate) struct Packer {
    numbers: Vec<f64>,
    names: String,
    slabs: Vec<Slab>,
    attachments: Vec<u8>,
    rare: Vec<NativeEvent>,
}

/// Packets that stand together: a string, and a buffer, for each of them would cost more than all the
/// rest. Small, since one that waits for a slow client keeps all of them in memory.
#[derive(Default)]
struct Slab {
    texts: String,
    frames: Vec<u8>,
    is_full: bool,
}

impl Packer {
    /// Adds an event.
    pub(crate) fn add(&mut self, event: Event) {
        match event {
            Event::Stream(StreamEvent::Broadcast { namespace, id, head, packet }) => {
                self.broadcast(namespace.handle, id, &head, packet);
            }
            Event::Stream(StreamEvent::Published(Completion {
                ticket,
                outcome: Ok(Some(id)),
                local,
                ..
            })) if id.fits_doubles() => {
                self.published(ticket, id, local);
            }
            event => {
                if let Some(event) = NativeEvent::of(event) {
                    self.numbers.push(f64::from(Kind::Rare as u8));
                    self.rare.push(event);
                }
            }
        }
    }

    /// `[kind, namespace, …id, flags, rooms, except, length of each name…, …packet]`
    fn broadcast(&mut self, namespace: u32, id: EntryId, head: &BroadcastHead, packet: Packet) {
        let (rooms, except) = (head.rooms(), head.except());
        self.numbers.extend([f64::from(Kind::Broadcast as u8), f64::from(namespace)]);
        self.id(id);
        self.numbers.push(f64::from(head.flags().map_or(0, flag_bits)));
        self.numbers.extend([rooms.len() as f64, except.len() as f64]);
        for name in rooms.iter().chain(except).filter_map(Room::name) {
            // JS counts in UTF-16 units.
            self.numbers.push(name.encode_utf16().count() as f64);
            self.names.push_str(name);
        }
        self.packet(packet);
    }

    /// `[kind, ticket, …id, local, …packet]`
    fn published(&mut self, ticket: u32, id: EntryId, local: Local) {
        self.numbers.extend([f64::from(Kind::Published as u8), f64::from(ticket)]);
        self.id(id);
        let (part, packet) = match local {
            Local::Js => (LocalPart::ByJs, None),
            Local::Nothing => (LocalPart::ForNobody, None),
            Local::Packet(packet) => (LocalPart::Packet, Some(packet)),
        };
        self.numbers.push(f64::from(part as u8));
        packet.into_iter().for_each(|packet| self.packet(packet));
    }

    /// `[length of the text, attachments, length of each…]`; without a length it fills a slab.
    fn packet(&mut self, Packet { text, attachments }: Packet) {
        // Elsewhere JS would count other units.
        let is_packed = text.is_ascii() && text.len() < SLAB;
        self.numbers.push(if is_packed { text.len() as f64 } else { 0.0 });
        let has_room = |slab: &Slab| !slab.is_full && slab.texts.len() + text.len() <= SLAB;
        let mut slab = match self.slabs.pop() {
            Some(slab) if is_packed && has_room(&slab) => slab,
            last => {
                self.slabs.extend(last);
                Slab { is_full: !is_packed, ..Slab::default() }
            }
        };
        slab.texts.push_str(&text);
        if attachments.is_empty() {
            text_frame(&mut slab.frames, &text);
        }
        self.slabs.push(slab);
        self.numbers.push(attachments.len() as f64);
        for attachment in attachments {
            self.numbers.push(attachment.len() as f64);
            self.attachments.extend_from_slice(&attachment);
        }
    }

    /// `[ms, seq]`
    fn id(&mut self, id: EntryId) {
        self.numbers.extend([id.ms as f64, id.seq as f64]);
    }

    /// What was packed.
    pub(crate) fn finish(self) -> NativeBatch {
        let Self { numbers, names, slabs, attachments, rare } = self;
        let attachments = (!attachments.is_empty()).then(|| attachments.into());
        let (texts, frames) =
            slabs.into_iter().map(|slab| (slab.texts, slab.frames.into())).unzip();
        NativeBatch { numbers: numbers.into(), names, texts, frames, attachments, rare }
    }
}

fn flag_bits(flags: &Flags) -> u8 {
    let volatile = if flags.is_volatile() { VOLATILE } else { 0 };
    let compress = match flags.compress() {
        None => 0,
        Some(false) => COMPRESS_SAID,
        Some(true) => COMPRESS_SAID | COMPRESS,
    };
    volatile | compress
}
