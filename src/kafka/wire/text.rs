use kafka_protocol::protocol::StrBytes;

/// The codec's strings are views of byte buffers; this makes one of ours.
pub(super) fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

/// The outcome that an item's code and text stand for.
pub(super) fn outcome(code: i16, message: Option<&StrBytes>) -> crate::kafka::Item<()> {
    if code == 0 { Ok(()) } else { Err(crate::kafka::ItemError::of(code, message.map(|text| &**text))) }
}

/// "1 topic", "12 topics".
pub(super) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
