//! Messages of netlink, as bytes: made before the clone, sent by the child as they are.

/// A message that is being written.
pub(super) struct Message(Vec<u8>);

/// `NLM_F_REQUEST`
const REQUEST: u16 = 1;
/// `NLM_F_CREATE`
pub(super) const CREATE: u16 = 0x400;
/// `NLM_F_EXCL`
pub(super) const EXCLUSIVE: u16 = 0x200;
/// `NLM_F_APPEND`
pub(super) const APPEND: u16 = 0x800;

const HEADER: usize = 16;
const NESTED: u16 = 0x8000;

impl Message {
    /// Begins a message with the fixed part that its kind has.
    pub(super) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Message {
        let mut bytes = vec![0; 4];
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(REQUEST | flags).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(fixed);
        pad(&mut bytes);
        Message(bytes)
    }

    /// Adds attributes.
    pub(super) fn with(mut self, attributes: &[u8]) -> Message {
        self.0.extend_from_slice(attributes);
        self
    }

    /// The whole message, its length told.
    pub(super) fn bytes(self) -> Vec<u8> {
        let Message(mut bytes) = self;
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_ne_bytes();
        bytes.splice(..4.min(HEADER), length);
        bytes
    }
}

/// An attribute.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(value.len() + 8);
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    pad(&mut bytes);
    bytes
}

/// An attribute that holds others.
pub(super) fn nested(kind: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | NESTED, &attributes.concat())
}

/// An attribute with a number in network order.
pub(super) fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

/// An attribute with a text, which ends with NUL.
pub(super) fn text(kind: u16, value: &str) -> Vec<u8> {
    attribute(kind, &[value.as_bytes(), &[0]].concat())
}

/// The fixed part of netfilter's messages.
pub(super) fn netfilter(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

/// Binds the socket that sends it to a group of netfilter's log: the beginning of each packet, told at once.
pub(super) fn bind_log(group: u16) -> Vec<u8> {
    const ULOG_CONFIG: u16 = (4 << 8) | 1;
    const COMMAND: u16 = 1;
    const MODE: u16 = 2;
    const AT_ONCE: u16 = 5;
    const BIND: u8 = 1;
    const COPY_PACKET: u8 = 2;
    /// Room for the headers of IPv6 and TCP.
    const COPIED: u32 = 96;
    let [a, b, c, d] = COPIED.to_be_bytes();
    let mut bytes =
        Message::new(ULOG_CONFIG, 0, &netfilter(0, group)).with(&attribute(COMMAND, &[BIND])).bytes();
    bytes.extend(
        Message::new(ULOG_CONFIG, 0, &netfilter(0, group))
            .with(&attribute(MODE, &[a, b, c, d, COPY_PACKET, 0]))
            .with(&number(AT_ONCE, 1))
            .bytes(),
    );
    bytes
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_leave_the_padding_of_the_last_attribute_out_and_that_of_others_in() {
        assert_eq!(attribute(7, b"abcde").len(), 12);
        assert_eq!(attribute(7, b"abcde")[..2], 9_u16.to_ne_bytes());
        let both = nested(2, &[attribute(7, b"a"), attribute(8, b"b")]);
        assert_eq!(both[..2], 20_u16.to_ne_bytes());
        let message = Message::new(3, CREATE, &netfilter(1, 0)).with(&text(1, "f")).bytes();
        assert_eq!(message.len(), 16 + 4 + 8);
        assert_eq!(message[..4], 28_u32.to_ne_bytes());
        assert_eq!(message[6..8], (CREATE | 1).to_ne_bytes());
    }
}
