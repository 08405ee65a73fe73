//! A plan whose writable trees are the host's no longer: what is written goes to layers over them.

use super::{Keep, LinuxPlan, Mount, TreeKind, Writing};
use crate::bytes::AbsolutePath;

/// What holds the layers of an overlay.
pub trait Layers {
    /// The layer over a directory of the host.
    ///
    /// # Errors
    /// Why there can be none.
    fn over(&mut self, directory: &AbsolutePath) -> Result<Layer, String>;

    /// What takes what is written to a single file of the host.
    ///
    /// # Errors
    /// Why nothing can.
    fn file(&mut self, file: &AbsolutePath) -> Result<Alone, String>;
}

/// A layer over a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Where it lies.
    pub keep: Keep,
    /// The mode of the directory as it is seen.
    pub mode: u32,
}

/// What becomes of a single file that may be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alone {
    /// A copy of it is written.
    Copied {
        /// Where that lies.
        keep: Keep,
        /// Its mode.
        mode: u32,
    },
    /// It is a socket: nothing that is written to it is kept, and its mode and owner can no longer be changed.
    Socket,
}

/// Puts layers under everything that a plan lets be written on the host. `/proc`, `/dev` and what is of the run alone stay
/// as they are.
///
/// # Errors
/// Why something that may be written cannot be under a layer.
pub fn overlaid(plan: LinuxPlan, layers: &mut dyn Layers) -> Result<LinuxPlan, String> {
    let mut made: Vec<Mount> = Vec::with_capacity(plan.mounts.len());
    let mut over: Vec<AbsolutePath> = Vec::new();
    for mount in plan.mounts {
        let Mount::Tree { source, at, kind, writing, executing, devices, rules } = mount else {
            made.push(mount);
            continue;
        };
        let shown = over.iter().find(|over| source.is_within(over)).cloned();
        let layer = match (shown, writing, kind) {
            (Some(layer), _, _) if source == at => layer,
            (None, Writing::Refused, _) => {
                made.push(Mount::Tree { source, at, kind, writing, executing, devices, rules });
                continue;
            }
            _ if source != at => {
                return Err(format!("`{source}` is mounted at `{at}`: it can be under no layer"));
            }
            (_, Writing::Allowed, TreeKind::Directory) => {
                let Layer { keep, mode } = layers.over(&source)?;
                made.push(Mount::Layer { over: source.clone(), keep, mode });
                over.push(source.clone());
                source
            }
            (_, _, TreeKind::File) | (_, Writing::Refused, _) => {
                made.push(match layers.file(&source)? {
                    Alone::Copied { keep, mode } => Mount::Copy { at, keep, mode, executing, rules },
                    Alone::Socket => {
                        Mount::Tree { source, at, kind, writing: Writing::Refused, executing, devices, rules }
                    }
                });
                continue;
            }
        };
        made.push(Mount::Overlaid { over: layer, at, kind, writing, executing, rules });
    }
    Ok(LinuxPlan { mounts: made, ..plan })
}
