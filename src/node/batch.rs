//! A slice of events for JS. Frequent events are packed, since each property that N-API sets on an
//! object costs more than the handling of the event. `lib/events.js` unpacks them.

use napi::bindgen_prelude::{Buffer, Float64Array};
use napi_derive::napi;

use super::event::NativeEvent;
use crate::engine::event::{Broadcast, Completion, Event, Local, StreamEvent};
use crate::engine::left_out::Late;
use crate::engine::wire::{EntryId, Flags, Packet, text_frame};

/// The kind of the next event in a batch. `lib/events.js` has the same numbers.
enum Kind {
    Rare = 0,
    Broadcast = 1,
    Published = 2,
}

/// The local part of a publish. `lib/events.js` has the same numbers.
enum LocalPart {
    ByJs = 0,
    ForNobody = 1,
    Packet = 2,
}

/// The most bytes of texts in a slab that holds more than one text.
const SLAB: usize = 16 << 10;

/// Bits of a broadcast's flags.
const VOLATILE: u8 = 1;
const COMPRESS_SAID: u8 = 2;
const COMPRESS: u8 = 4;

/// The memory of a `Float64Array`. The name hides the reference from `#[napi]`, which would take it for
/// one to a class.
pub(crate) type JsNumbers<'a> = &'a mut [f64];

/// A slice of events. What is empty is absent: each value that crosses to JS costs about as much as
/// the handling of an event.
#[napi(object, object_from_js = false)]
pub struct NativeBatch {
    /// How many numbers there are.
    pub length: u32,
    /// The events in order, as numbers. Absent if JS's own array holds them.
    pub numbers: Option<Float64Array>,
    /// Names of rooms, concatenated.
    pub names: Option<String>,
    /// The texts of packets, concatenated into slabs.
    pub texts: Option<Vec<String>>,
    /// The WebSocket frames of the same slabs. A packet with attachments has none.
    pub frames: Option<Vec<Buffer>>,
    /// The packets' attachments, concatenated.
    pub attachments: Option<Buffer>,
    /// Events of all other kinds.
    pub rare: Option<Vec<NativeEvent>>,
}

/// Broadcasts that got a recipient while JS was handling the slice that left them out.
#[napi(object, object_from_js = false)]
pub struct NativeLate {
    /// The broadcasts.
    pub batch: NativeBatch,
    /// For each of them, how many events of the slice JS handles before it.
    pub places: Vec<u32>,
    /// For each of them, its number among what the slice left out.
    pub numbers: Vec<u32>,
}

impl NativeLate {
    pub(crate) fn of(late: Vec<Late>) -> Self {
        let mut packer = Packer::default();
        let (places, numbers) = late.iter().map(|late| (late.place, late.number)).unzip();
        late.into_iter().for_each(|late| packer.broadcast(late.broadcast));
        Self { batch: packer.finish(&mut []), places, numbers }
    }
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

/// Packets that share a string and a buffer: a string and a buffer for each packet would cost more
/// than all other work. A slab is small, since one packet that waits for a slow client keeps the
/// whole slab in memory.
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
            Event::Stream(StreamEvent::Broadcast(broadcast)) => self.broadcast(broadcast),
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
    pub(crate) fn broadcast(&mut self, broadcast: Broadcast) {
        let Broadcast { namespace, id, head, packet } = broadcast;
        let (rooms, except) = (head.rooms(), head.except());
        self.numbers.extend([f64::from(Kind::Broadcast as u8), f64::from(namespace.handle)]);
        self.id(id);
        self.numbers.push(f64::from(head.flags().map_or(0, flag_bits)));
        self.numbers.extend([rooms.len() as f64, except.len() as f64]);
        for name in rooms.names().chain(except.names()) {
            // JS counts in UTF-16 units, which are bytes in ASCII only.
            let length = if name.is_ascii() { name.len() } else { name.encode_utf16().count() };
            self.numbers.push(length as f64);
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

    /// `[length of the text, attachments, length of each…]`; a length of 0 means that the text
    /// fills a slab.
    fn packet(&mut self, Packet { text, attachments }: Packet) {
        // JS counts UTF-16 units, which are bytes in ASCII only.
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

    /// What was packed. The numbers are written to `reused` if they fit.
    pub(crate) fn finish(self, reused: &mut [f64]) -> NativeBatch {
        let Self { numbers, names, slabs, attachments, rare } = self;
        let length = numbers.len();
        let numbers = match reused.get_mut(..length) {
            Some(reused) => {
                reused.copy_from_slice(&numbers);
                None
            }
            None => Some(numbers.into()),
        };
        let (texts, frames) = (!slabs.is_empty())
            .then(|| slabs.into_iter().map(|slab| (slab.texts, slab.frames.into())).unzip())
            .unzip();
        NativeBatch {
            length: length as u32,
            numbers,
            names: (!names.is_empty()).then_some(names),
            texts,
            frames,
            attachments: (!attachments.is_empty()).then(|| attachments.into()),
            rare: (!rare.is_empty()).then_some(rare),
        }
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
