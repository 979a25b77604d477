//! A slice of events for JS. Frequent events are packed, since each property that N-API sets on an
//! object costs more than the handling of the event. A small slice is written to memory that JS
//! gives, so that only a number crosses. `lib/events.js` unpacks both, `lib/batch-memory.js` has the
//! memory.

use napi::bindgen_prelude::{Buffer, Either, Float64Array};
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
    Message = 3,
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

/// The memory of a `Uint8Array`. The name hides the reference from `#[napi]`, which would take it for
/// one to a class.
pub(crate) type JsBytes<'a> = &'a mut [u8];

/// How many numbers JS's memory has room for, in front of the texts. `lib/batch-memory.js` has the
/// same number.
const NUMBERS: usize = 2_048;

/// A slice of events. What is empty is absent: each value that crosses to JS costs about as much as
/// the handling of an event.
#[napi(object, object_from_js = false)]
pub struct NativeBatch {
    /// How many numbers there are.
    pub length: u32,
    /// The events in order, as numbers. Absent if JS's memory holds them.
    pub numbers: Option<Float64Array>,
    /// Names of rooms, concatenated.
    pub names: Option<String>,
    /// The texts of packets, concatenated into slabs.
    pub texts: Option<Vec<String>>,
    /// The WebSocket frames of the same slabs. A packet with attachments has none.
    pub frames: Option<Vec<Buffer>>,
    /// The packets' attachments and the payloads of messages, concatenated.
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
        Self { batch: packer.into_batch(false), places, numbers }
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
            Event::Stream(StreamEvent::Message { namespace, payload }) => {
                self.message(namespace, payload);
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

    /// `[kind, namespace, length of the payload]`
    fn message(&mut self, namespace: u32, payload: Vec<u8>) {
        let numbers = [Kind::Message as u32, namespace, payload.len() as u32];
        self.numbers.extend(numbers.map(f64::from));
        if self.attachments.is_empty() {
            self.attachments = payload;
        } else {
            self.attachments.extend(payload);
        }
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
        if attachments.is_empty() {
            text_frame(&mut slab.frames, &text);
        }
        if slab.texts.is_empty() {
            slab.texts = text;
        } else {
            slab.texts.push_str(&text);
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

    /// What was packed: written to the memory if it is little, or as a batch. Its numbers are in the
    /// memory then if they fit.
    pub(crate) fn finish(self, memory: &mut [u8], frames: &mut [u8]) -> Either<u32, NativeBatch> {
        let halves = memory.split_at_mut_checked(NUMBERS * size_of::<f64>());
        let Some((numbers, texts)) = halves else { return Either::B(self.into_batch(false)) };
        let is_written = self.write_numbers(numbers);
        if is_written && self.write_texts(texts, frames).is_some() {
            return Either::A(self.numbers.len() as u32);
        }
        Either::B(self.into_batch(is_written))
    }

    /// Writes the numbers, and behind them the lengths of the names, of the texts, of the attachments
    /// and of the frames. False if they do not fit.
    fn write_numbers(&self, memory: &mut [u8]) -> bool {
        let (texts, frames) =
            self.slabs.first().map_or((0, 0), |slab| (slab.texts.len(), slab.frames.len()));
        let lengths = [self.names.len(), texts, self.attachments.len(), frames];
        let lengths = lengths.map(|length| length as f64);
        let fits = self.numbers.len() + lengths.len() <= NUMBERS;
        if fits {
            let numbers = self.numbers.iter().chain(&lengths);
            for (place, number) in memory.chunks_exact_mut(size_of::<f64>()).zip(numbers) {
                place.copy_from_slice(&number.to_ne_bytes());
            }
        }
        fits
    }

    /// Writes the names, texts and attachments to `memory`, and the frames to `frames`. `None` if not
    /// everything besides the numbers fits there.
    fn write_texts(&self, memory: &mut [u8], frames: &mut [u8]) -> Option<()> {
        let Self { numbers: _, names, slabs, attachments, rare } = self;
        let nothing = Slab::default();
        let slab = match slabs.as_slice() {
            [] => &nothing,
            [slab] if !slab.is_full => slab,
            _ => return None,
        };
        if !(rare.is_empty() && names.is_ascii()) {
            return None;
        }
        let frames_place = frames.get_mut(..slab.frames.len())?;
        let (names_place, rest) = memory.split_at_mut_checked(names.len())?;
        let (texts_place, rest) = rest.split_at_mut_checked(slab.texts.len())?;
        rest.get_mut(..attachments.len())?.copy_from_slice(attachments);
        frames_place.copy_from_slice(&slab.frames);
        names_place.copy_from_slice(names.as_bytes());
        texts_place.copy_from_slice(slab.texts.as_bytes());
        Some(())
    }

    fn into_batch(self, are_numbers_written: bool) -> NativeBatch {
        let Self { numbers, names, slabs, attachments, rare } = self;
        let (texts, frames) = (!slabs.is_empty())
            .then(|| slabs.into_iter().map(|slab| (slab.texts, slab.frames.into())).unzip())
            .unzip();
        NativeBatch {
            length: numbers.len() as u32,
            numbers: (!are_numbers_written).then(|| numbers.into()),
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
