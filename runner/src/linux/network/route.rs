//! Routes by which every address is one of the machine's own, so that what is sent anywhere comes to loopback.

use std::net::Ipv4Addr;

use super::message::{CREATE, EXCLUSIVE, Message, attribute};

const RTM_NEWROUTE: u16 = 24;
const RTA_OIF: u16 = 4;
const RTA_PREFSRC: u16 = 7;
/// The loopback interface is the first of every namespace.
const LOOPBACK: u32 = 1;

/// `local 0.0.0.0/0 dev lo src ADDRESS`: without a source, answers would leave from the address that was asked for.
pub(super) fn everywhere_v4(source: Ipv4Addr) -> Vec<u8> {
    route(libc::AF_INET as u8).with(&attribute(RTA_PREFSRC, &source.octets())).bytes()
}

/// `local ::/0 dev lo`
pub(super) fn everywhere_v6() -> Vec<u8> {
    route(libc::AF_INET6 as u8).bytes()
}

fn route(family: u8) -> Message {
    const TABLE_LOCAL: u8 = 255;
    const PROTOCOL_STATIC: u8 = 4;
    const SCOPE_HOST: u8 = 254;
    const TYPE_LOCAL: u8 = 2;
    let fixed = [family, 0, 0, 0, TABLE_LOCAL, PROTOCOL_STATIC, SCOPE_HOST, TYPE_LOCAL, 0, 0, 0, 0];
    Message::new(RTM_NEWROUTE, CREATE | EXCLUSIVE, &fixed).with(&attribute(RTA_OIF, &LOOPBACK.to_ne_bytes()))
}
