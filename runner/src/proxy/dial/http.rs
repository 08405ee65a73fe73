//! Asking a proxy for a connection by HTTP.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::destination::Target;
use super::super::link::Link;
use super::super::upstream::Login;

/// The longest answer that is read.
const LONGEST: usize = 16 * 1024;

/// Asks for a connection to a target.
pub(super) async fn connect(link: &mut Link, target: &Target, login: Option<&Login>) -> Result<(), String> {
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(login) = login {
        request.push_str(&format!("Proxy-Authorization: {}\r\n", basic(login)));
    }
    request.push_str("\r\n");
    let broken =
        |error: std::io::Error| format!("broke the connection: {}", error.to_string().to_lowercase());
    link.write_all(request.as_bytes()).await.map_err(broken)?;
    link.flush().await.map_err(broken)?;
    let mut head = Vec::new();
    // A byte at a time: what follows the head belongs to the target.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= LONGEST {
            return Err("answers with more than a head".to_owned());
        }
        head.push(link.read_u8().await.map_err(broken)?);
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or(&[]);
    let status = line.get(9..12).and_then(|status| std::str::from_utf8(status).ok()).unwrap_or("");
    match status {
        _ if !line.starts_with(b"HTTP/1.") => Err("does not answer in HTTP".to_owned()),
        status if status.starts_with('2') => Ok(()),
        "407" => Err("wants another user and password".to_owned()),
        status => Err(format!("answers {}", crate::audit::visible(status))),
    }
}

/// The value that tells who asks.
pub(in crate::proxy) fn basic(login: &Login) -> String {
    format!("Basic {}", base64(&[login.user.as_slice(), b":", login.password.as_slice()].concat()))
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for place in 0..4 {
            let number = (bits >> (18 - 6 * place)) & 63;
            match LETTERS.get(number as usize) {
                Some(letter) if place <= group.len() => out.push(char::from(*letter)),
                _ => out.push('='),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_written_in_base64() {
        for (plain, written) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), written);
        }
        let login = Login { user: b"Aladdin".to_vec(), password: b"open sesame".to_vec() };
        assert_eq!(basic(&login), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }
}
