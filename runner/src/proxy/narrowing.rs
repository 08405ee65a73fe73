//! A narrower policy for connections that are already being served.
//!
//! Whoever keeps the sandbox sends it, and hears when it holds: the length as eight bytes, then the policy with the values of
//! its variables as JSON; a byte comes back.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream as StdStream;
use std::rc::Rc;

use fence_compiler::pattern::Variable;
use fence_compiler::policy::Policy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::judge::Judge;
use super::server::Server;

/// The most that a policy may take.
const LARGEST: u64 = 64 << 20;

type Order = (Policy, Vec<(Variable, Vec<u8>)>);

/// Has those who serve decide by another policy; returns when they do.
///
/// # Errors
/// Nobody serves any more.
pub(crate) fn send(
    stream: &mut StdStream,
    policy: &Policy,
    values: BTreeMap<Variable, Vec<u8>>,
) -> io::Result<()> {
    let values: Vec<(Variable, Vec<u8>)> = values.into_iter().collect();
    let text = serde_json::to_vec(&(policy, values))?;
    stream.write_all(&(text.len() as u64).to_le_bytes())?;
    stream.write_all(&text)?;
    stream.read_exact(&mut [0])
}

/// Takes policies until nobody sends any more.
pub(super) async fn taken(server: Rc<Server>, mut stream: UnixStream) {
    while let Ok(order) = next(&mut stream).await {
        let (policy, values) = order;
        let mut world = server.judge().world.clone();
        world.variables = values.into_iter().collect();
        server.narrow(Judge { policy, world });
        if stream.write_all(&[1]).await.is_err() {
            break;
        }
    }
}

async fn next(stream: &mut UnixStream) -> io::Result<Order> {
    let length = stream.read_u64_le().await?;
    let mut text = Vec::new();
    stream.take(length.min(LARGEST)).read_to_end(&mut text).await?;
    Ok(serde_json::from_slice(&text)?)
}
