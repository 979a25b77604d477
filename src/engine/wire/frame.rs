//! WebSocket frames as servers send them, which is unmasked.

/// The final frame of a text message.
const FINAL_TEXT: u8 = 0x81;
/// The Engine.IO packet type of a message.
const MESSAGE: u8 = b'4';

/// Appends the frame of an Engine.IO message with this text.
pub(crate) fn text_frame(frames: &mut Vec<u8>, text: &str) {
    let length = 1 + text.len();
    frames.reserve(10 + length);
    frames.push(FINAL_TEXT);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..126), _) => frames.push(short),
        (_, Ok(medium)) => {
            frames.push(126);
            frames.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            frames.push(127);
            frames.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frames.push(MESSAGE);
    frames.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_rfc_6455_writes_lengths() {
        for (length, header) in [
            (0, &[1][..]),
            (124, &[125]),
            (125, &[126, 0, 126]),
            (65_534, &[126, 255, 255]),
            (65_535, &[127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut frames = Vec::new();
            let text = "x".repeat(length);
            text_frame(&mut frames, &text);
            assert_eq!(frames, [&[0x81], header, b"4", text.as_bytes()].concat(), "{length}");
        }
    }
}
