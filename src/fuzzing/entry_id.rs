//! Entry IDs, which also come from clients as offsets.

use crate::engine::wire::EntryId;

/// The input is two texts, separated by a space.
pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut ids = text.splitn(2, ' ').map(|text| (text, text.parse::<EntryId>()));
    let (text, first) = ids.next().expect("a first part");
    let (_, second) = ids.next().unwrap_or(("", Ok(EntryId::ZERO)));

    let is_id = text.split_once('-').is_some_and(|(ms, seq)| is_number(ms) && is_number(seq));
    assert_eq!(first.is_ok(), is_id, "{text:?}");
    let (Ok(first), Ok(second)) = (first, second) else { return };
    assert_eq!(first.to_string().parse(), Ok(first));
    let wide = |id: EntryId| u128::from(id.ms) << 64 | u128::from(id.seq);
    assert_eq!(first.cmp(&second), wide(first).cmp(&wide(second)));
    let next = wide(first).checked_add(1);
    assert!(next.is_none_or(|next| wide(first.next()) == next), "{first}");
}

fn is_number(digits: &str) -> bool {
    let significant = digits.trim_start_matches('0');
    let fits = significant.len() < 20
        || (significant.len() == 20 && significant <= "18446744073709551615");
    !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()) && fits
}
