//! Asking a proxy for a connection by SOCKS5 (RFC 1928, RFC 1929).

use std::net::IpAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::destination::{Host, Target};
use super::super::link::Link;
use super::super::upstream::Login;

/// Asks for a connection to a target; a name is passed on as a name.
pub(super) async fn connect(link: &mut Link, target: &Target, login: Option<&Login>) -> Result<(), String> {
    let methods: &[u8] = if login.is_some() { &[5, 2, 0, 2] } else { &[5, 1, 0] };
    write(link, methods).await?;
    match (read::<2>(link).await?, login) {
        ([5, 0], _) => {}
        ([5, 2], Some(login)) => {
            let user = short(&login.user)?;
            let password = short(&login.password)?;
            write(link, &[&[1], user.as_slice(), password.as_slice()].concat()).await?;
            if read::<2>(link).await? != [1, 0] {
                return Err("wants another user and password".to_owned());
            }
        }
        ([5, _], _) => return Err("wants another kind of login".to_owned()),
        _ => return Err("does not speak SOCKS5".to_owned()),
    }
    let mut request = vec![5, 1, 0];
    match &target.host {
        Host::Name(name) => {
            request.push(3);
            request.extend(short(name.as_str().as_bytes())?);
        }
        Host::Address(IpAddr::V4(address)) => {
            request.push(1);
            request.extend(address.octets());
        }
        Host::Address(IpAddr::V6(address)) => {
            request.push(4);
            request.extend(address.octets());
        }
    }
    request.extend(target.port.to_be_bytes());
    write(link, &request).await?;
    let [version, reply, _, kind] = read::<4>(link).await?;
    if version != 5 || reply != 0 {
        return Err(format!("answers with error {reply} of SOCKS5"));
    }
    let length = match kind {
        1 => 4,
        4 => 16,
        3 => usize::from(read::<1>(link).await?[0]),
        _ => return Err("does not speak SOCKS5".to_owned()),
    };
    // Its own address and port, which nobody needs.
    let mut rest = vec![0; length + 2];
    link.read_exact(&mut rest).await.map(drop).map_err(|error| broken(&error))
}

/// A text with its length before it.
fn short(text: &[u8]) -> Result<Vec<u8>, String> {
    let length = u8::try_from(text.len()).map_err(|_| "takes no text longer than 255 bytes".to_owned())?;
    Ok([&[length], text].concat())
}

async fn write(link: &mut Link, bytes: &[u8]) -> Result<(), String> {
    link.write_all(bytes).await.map_err(|error| broken(&error))?;
    link.flush().await.map_err(|error| broken(&error))
}

async fn read<const N: usize>(link: &mut Link) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    link.read_exact(&mut bytes).await.map_err(|error| broken(&error))?;
    Ok(bytes)
}

fn broken(error: &std::io::Error) -> String {
    format!("broke the connection: {}", error.to_string().to_lowercase())
}
