//! The readers of what a sandbox sends, on bytes that are nearly right and on any. `PROPTEST_CASES` says how many.

use proptest::prelude::*;

use super::super::fuzzing;

/// Valid messages, with some bytes changed, left out or added, and cut off somewhere.
fn nearly(valid: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0..3);
    let changes = proptest::collection::vec(change, 0..6);
    (proptest::sample::select(valid), changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(mut bytes, changes, end, cut)| {
            for (at, byte, kind) in changes {
                if bytes.is_empty() {
                    bytes.push(byte);
                }
                let at = at.index(bytes.len());
                match kind {
                    0 => bytes[at] = byte,
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, byte),
                }
            }
            if cut {
                bytes.truncate(end.index(bytes.len() + 1));
            }
            bytes
        },
    )
}

fn socks() -> Vec<Vec<u8>> {
    vec![
        b"\x05\x01\x00\x05\x01\x00\x03\x09a.example\x01\xbb".to_vec(),
        b"\x05\x02\x00\x02\x05\x01\x00\x01\x7f\x00\x00\x01\x01\xbb".to_vec(),
        b"\x04\x01\x01\xbb\x00\x00\x00\x01me\x00a.example\x00".to_vec(),
    ]
}

fn names() -> Vec<Vec<u8>> {
    let question = |name: &[u8], kind: u8| {
        [b"\0\x07\x01\0\0\x01\0\0\0\0\0\0".as_slice(), name, &[0, 0, kind, 0, 1]].concat()
    };
    let edns = b"\0\0\x29\x10\0\0\0\0\0\0\0";
    let mut with_edns = question(b"\x01a\x07example", 1);
    with_edns[11] = 1;
    with_edns.extend(edns);
    vec![
        question(b"\x01a\x07example", 1),
        question(b"\x01b\x04test", 28),
        question(b"\x011\x010\x010\x03127\x07in-addr\x04arpa", 12),
        with_edns,
    ]
}

fn requests() -> Vec<Vec<u8>> {
    vec![
        b"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n".to_vec(),
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.0\r\n\r\n".to_vec(),
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n"
            .to_vec(),
        b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n\x16\x03\x01".to_vec(),
    ]
}

proptest! {
    #[test]
    fn requests_of_socks(bytes in prop_oneof![nearly(socks()), any::<Vec<u8>>()]) {
        fuzzing::socks(&bytes);
    }

    #[test]
    fn questions_for_names(bytes in prop_oneof![nearly(names()), any::<Vec<u8>>()]) {
        fuzzing::names(&bytes);
    }

    #[test]
    fn requests_of_http(bytes in prop_oneof![nearly(requests()), any::<Vec<u8>>()]) {
        fuzzing::requests(&bytes);
    }

    #[test]
    fn beginnings_of_tls(bytes in prop_oneof![nearly(vec![super::transparent::hello("a.example")]), any::<Vec<u8>>()]) {
        fuzzing::hello(&bytes);
    }
}
